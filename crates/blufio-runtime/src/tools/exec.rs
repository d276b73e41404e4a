//! `exec`: runs a program of this machine, confined, with arguments that no shell reads.
//!
//! An owner is asked before each call. The yes is held to the file behind the program's path, its content, the arguments, the
//! folder and the environment: what is opened for the run is compared with what was opened for the question, and then exactly
//! that is run.

use super::{arguments, blocking, spec};
use blufio_core::limits::{TOOL_OUTPUT_BYTES_MAX, TOOL_SHOWN_BYTES_MAX};
use blufio_core::message::Origin;
use blufio_core::port::{
    AnyTool, ArgRole, Binding, EXEC_ARGS_BYTES_MAX, EXEC_ARGS_MAX, EXEC_TIME_MAX, Ended, ExecError, ExecOutcome,
    ExecRequest, Executor, Prepared, Replay, Tool, ToolCall, ToolError, ToolLimits, ToolOutput, ToolSpec,
};
use serde::Deserialize;
use serde_json::json;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Time beyond that of the program: waiting for a turn, starting, ending what it started.
const SPARE: Duration = Duration::from_secs(30);
/// Bytes of the line below the output.
const NOTE_BYTES_MAX: usize = 256;
const _: () = assert!(NOTE_BYTES_MAX < TOOL_SHOWN_BYTES_MAX);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    program: String,
    #[serde(default)]
    args: Vec<String>,
    cwd: Option<String>,
}

struct Exec {
    spec: ToolSpec,
    executor: Arc<dyn Executor>,
}

/// The tool `exec`, which runs programs through `executor`.
#[must_use]
pub fn tool(executor: Arc<dyn Executor>) -> Arc<dyn AnyTool> {
    let description = "Runs one program of this machine and returns what it prints. An owner is asked first. There is no \
        shell: no pipes, redirections, variables or wildcards; each argument arrives as it is. For more than one program, \
        write a script with `write_file` and run its interpreter with it. The program may read and write the workspace and \
        read system files, has no network and no input, and is ended after 60 seconds with everything it started.";
    let schema = json!({
        "type": "object",
        "properties": {
            "program": {
                "type": "string",
                "maxLength": 4096,
                "description": "Absolute path, e.g. `/usr/bin/sort`."
            },
            "args": {
                "type": "array",
                "maxItems": EXEC_ARGS_MAX,
                "items": {"type": "string", "maxLength": EXEC_ARGS_BYTES_MAX},
                "description": "Arguments, without the program's name; default: none."
            },
            "cwd": {
                "type": "string",
                "maxLength": 1024,
                "description": "Folder to run in, relative to the workspace; default: the workspace."
            }
        },
        "required": ["program"],
        "additionalProperties": false
    });
    // What the other arguments mean, only the program knows: they count as destinations.
    let spec = spec("exec", description, schema, Replay::Effectful, &[("cwd", ArgRole::Path)]);
    let limits = ToolLimits { time: EXEC_TIME_MAX + SPARE, output_bytes: TOOL_OUTPUT_BYTES_MAX };
    let spec = ToolSpec { returns: Origin::Derived, private: true, asks: true, limits, ..spec };
    Arc::new(Exec { spec, executor })
}

impl Exec {
    async fn prepare(&self, input: serde_json::Value, zone: Option<String>) -> Result<Box<dyn Prepared>, ToolError> {
        let Arguments { program, args, cwd } = arguments(input)?;
        let (executor, request) = (self.executor.clone(), ExecRequest { program, args, cwd, zone });
        blocking(move || executor.prepare(&request).map_err(told)).await
    }
}

impl Tool for Exec {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn binding(&self, call: &ToolCall) -> Result<Option<Binding>, ToolError> {
        let prepared = self.prepare(call.input.clone(), call.zone.clone()).await?;
        Ok(Some(prepared.binding().clone()))
    }

    async fn run(&self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let prepared = self.prepare(call.input, call.zone).await?;
        if call.bound.is_some_and(|bound| bound != prepared.binding().hash) {
            return Err(ToolError::ToModel(
                "not run: the program, a file it was given, its folder or its environment is no longer what the owner \
                 said yes to; call it again to ask anew"
                    .to_owned(),
            ));
        }
        Ok(said(prepared.run().await.map_err(told)?).into())
    }
}

fn told(error: ExecError) -> ToolError {
    match error {
        ExecError::Refused(why) => ToolError::ToModel(format!("not run: {why}")),
        ExecError::Weak(why) => ToolError::ToModel(format!(
            "not run: this machine cannot confine programs ({why}); the operator would have to allow it with \
             `[tools.exec] allow_weak`"
        )),
        ExecError::Broken(why) => ToolError::Broken(why),
    }
}

/// What the model reads: the output, and below it how it ended.
fn said(outcome: ExecOutcome) -> String {
    let mut note = match outcome.ended {
        Ended::Exited(code) => format!("[exit code {code}"),
        Ended::Signalled(signal) => format!("[ended by signal {signal}"),
        Ended::TimedOut => "[killed: it took longer than it may".to_owned(),
    };
    let written = match outcome.discarded {
        0 => write!(note, ", {:.1} s]", outcome.time.as_secs_f64()),
        more => write!(note, ", {:.1} s; {more} more bytes of output were thrown away]", outcome.time.as_secs_f64()),
    };
    debug_assert!(written.is_ok() && note.len() <= NOTE_BYTES_MAX);
    let mut text = outcome.output;
    text.truncate(text.floor_char_boundary(TOOL_OUTPUT_BYTES_MAX - NOTE_BYTES_MAX));
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + &note
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use blufio_core::ids::CallId;
    use blufio_core::port::Boxed;

    /// Runs nothing: repeats what it was asked to run.
    struct Echo {
        hash: &'static str,
        discarded: u64,
    }

    struct Said(Binding, ExecOutcome);

    impl Prepared for Said {
        fn binding(&self) -> &Binding {
            &self.0
        }
        fn run(self: Box<Self>) -> Boxed<'static, Result<ExecOutcome, ExecError>> {
            Box::pin(std::future::ready(Ok(self.1)))
        }
    }

    impl Executor for Echo {
        fn prepare(&self, request: &ExecRequest) -> Result<Box<dyn Prepared>, ExecError> {
            if request.program == "/weak" {
                return Err(ExecError::Weak("the kernel has no Landlock".to_owned()));
            }
            let outcome = ExecOutcome {
                ended: Ended::Exited(3),
                output: format!("{request:?}"),
                discarded: self.discarded,
                time: Duration::from_millis(1_250),
            };
            let binding = Binding { hash: self.hash.to_owned(), always: true };
            Ok(Box::new(Said(binding, outcome)))
        }
    }

    fn call(input: serde_json::Value, bound: Option<&str>) -> ToolCall {
        ToolCall {
            session: blufio_core::ids::SessionId(1),
            id: CallId::new("toolu_1"),
            key: "key".into(),
            input,
            zone: Some("Europe/Berlin".to_owned()),
            sends_files: false,
            bound: bound.map(str::to_owned),
            hops: blufio_core::port::Hops::default(),
            asker: blufio_core::port::Asker::local(blufio_core::ids::SessionKey::new("local:main")).into(),
        }
    }

    #[tokio::test]
    async fn the_arguments_arrive_as_they_are() {
        let tool = tool(Arc::new(Echo { hash: "a", discarded: 0 }));
        let input = json!({"program": "/bin/x", "args": ["a b", "$(id)", ";"], "cwd": "sub"});
        let said = tool.run(call(input, None)).await.unwrap().text;
        let expect = "ExecRequest { program: \"/bin/x\", args: [\"a b\", \"$(id)\", \";\"], cwd: Some(\"sub\"), \
                      zone: Some(\"Europe/Berlin\") }\n[exit code 3, 1.2 s]";
        assert_eq!(said, expect);
    }

    #[tokio::test]
    async fn a_yes_to_something_else_is_none() {
        let tool = tool(Arc::new(Echo { hash: "now", discarded: 9 }));
        let input = json!({"program": "/bin/x"});
        let bound = tool.binding(&call(input.clone(), None)).await.unwrap().expect("it is held to something");
        assert_eq!(bound.hash, "now");
        let said = tool.run(call(input.clone(), Some("now"))).await.unwrap().text;
        assert!(said.contains("9 more bytes"), "{said}");
        let error = tool.run(call(input, Some("before"))).await.unwrap_err();
        assert!(matches!(&error, ToolError::ToModel(why) if why.contains("no longer")), "{error}");
    }

    #[tokio::test]
    async fn what_cannot_be_confined_is_said() {
        let tool = tool(Arc::new(Echo { hash: "a", discarded: 0 }));
        let error = tool.run(call(json!({"program": "/weak"}), None)).await.unwrap_err();
        assert!(matches!(&error, ToolError::ToModel(why) if why.contains("allow_weak")), "{error}");
    }

    #[test]
    fn an_owner_is_asked_before_every_call() {
        let tool = tool(Arc::new(Echo { hash: "a", discarded: 0 }));
        let spec = tool.spec();
        assert!(spec.asks && spec.returns == Origin::Derived && spec.private && !spec.people);
        assert_eq!(
            (spec.replay, spec.role("program"), spec.role("args")),
            (Replay::Effectful, ArgRole::Destination, ArgRole::Destination)
        );
        assert!(spec.limits.time > EXEC_TIME_MAX);
    }
}
