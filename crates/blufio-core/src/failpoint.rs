//! Named places where a test may kill the process.
//!
//! One pair around every commit, request, response, tool run and file rename. Without the feature `failpoints` a hit
//! compiles to nothing and the names are not in the binary (`./dev test` looks for them). With it, the binary installs a
//! hook ([`install`]) that decides what happens; the crash harness walks [`Failpoint::ALL`], so a point without a case fails.

/// Declares the points: variant, name.
macro_rules! failpoints {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// A named place in the program.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub enum Failpoint {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        #[cfg(feature = "failpoints")]
        impl Failpoint {
            /// Every point there is.
            pub const ALL: &'static [Failpoint] = &[$(Failpoint::$variant),*];

            /// The name that tests use: `<area>.<before|after>_<effect>`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Failpoint::$variant => $name),* }
            }
        }
    };
}

failpoints! {
    BootBeforeCommit = "boot.before_commit",
    BootAfterCommit = "boot.after_commit",
    MigrationBeforeCommit = "migration.before_commit",
    MigrationAfterCommit = "migration.after_commit",
    WriterBeforeCommit = "writer.before_commit",
    WriterAfterCommit = "writer.after_commit",
    PollBeforeRequest = "poll.before_request",
    PollAfterResponse = "poll.after_response",
    IntakeBeforeCommit = "intake.before_commit",
    IntakeAfterCommit = "intake.after_commit",
    StopBeforeCancel = "stop.before_cancel",
    StopAfterCancel = "stop.after_cancel",
    TurnBeforeOpen = "turn.before_open",
    TurnAfterOpen = "turn.after_open",
    CallBeforeRequest = "call.before_request",
    CallAfterResponse = "call.after_response",
    StepBeforeCommit = "step.before_commit",
    StepAfterCommit = "step.after_commit",
    ToolBeforeRun = "tool.before_run",
    ToolAfterRun = "tool.after_run",
    FileBeforeRename = "file.before_rename",
    FileAfterRename = "file.after_rename",
    BlobBeforeRename = "blob.before_rename",
    BlobAfterRename = "blob.after_rename",
    ReplyBeforeCommit = "reply.before_commit",
    ReplyAfterCommit = "reply.after_commit",
    PreviewBeforeSend = "preview.before_send",
    PreviewAfterSend = "preview.after_send",
    SendBeforeMark = "send.before_mark",
    SendAfterMark = "send.after_mark",
    SendBeforeRequest = "send.before_request",
    SendAfterResponse = "send.after_response",
    SentBeforeCommit = "sent.before_commit",
    SentAfterCommit = "sent.after_commit",
    ExportBeforeWrite = "export.before_write",
    ExportAfterWrite = "export.after_write",
    ExportBeforeRename = "export.before_rename",
    ExportAfterRename = "export.after_rename",
    ExportBeforeShred = "export.before_shred",
    ExportAfterShred = "export.after_shred",
    RotationBeforeKeyFile = "rotation.before_key_file",
    RotationAfterKeyFile = "rotation.after_key_file",
    RotationBeforeSlotsFile = "rotation.before_slots_file",
    RotationAfterSlotsFile = "rotation.after_slots_file",
    RotationBeforeSlotsRename = "rotation.before_slots_rename",
    RotationAfterSlotsRename = "rotation.after_slots_rename",
    RotationBeforeKeyRename = "rotation.before_key_rename",
    RotationAfterKeyRename = "rotation.after_key_rename",
    PairingBeforeCommit = "pairing.before_commit",
    PairingAfterCommit = "pairing.after_commit",
    RetentionBeforeDelete = "retention.before_delete",
    RetentionAfterDelete = "retention.after_delete",
    ShutdownBeforeCheckpoint = "shutdown.before_checkpoint",
    ShutdownAfterCheckpoint = "shutdown.after_checkpoint",
}

#[cfg(feature = "failpoints")]
static HOOK: std::sync::OnceLock<fn(Failpoint)> = std::sync::OnceLock::new();

/// Says what a hit does. The first call wins.
#[cfg(feature = "failpoints")]
pub fn install(hook: fn(Failpoint)) {
    HOOK.get_or_init(|| hook);
}

/// Passes a point.
#[cfg(feature = "failpoints")]
pub fn hit(point: Failpoint) {
    if let Some(hook) = HOOK.get() {
        hook(point);
    }
}

/// Passes a point: nothing in an ordinary build.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub const fn hit(_point: Failpoint) {}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use super::*;

    #[test]
    fn failpoints_come_in_pairs() {
        let names: Vec<&str> = Failpoint::ALL.iter().map(|point| point.name()).collect();
        for name in &names {
            let twin = if name.contains(".before_") { name.split('.').next() } else { None };
            if let Some(area) = twin {
                assert!(names.iter().any(|other| other.starts_with(&format!("{area}.after_"))), "{name} has no twin");
            }
        }
    }
}
