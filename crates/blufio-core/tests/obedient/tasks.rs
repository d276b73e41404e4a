//! What people ask of an assistant, and the calls with which it is done. Written before anything was counted, from what such
//! tasks look like in an office: somewhat more reading than doing, and often a place that the person does not name.

pub struct Task {
    /// The person's words.
    pub says: &'static str,
    pub steps: &'static [Step],
}

pub struct Step {
    pub tool: &'static str,
    pub arguments: &'static str,
    /// What comes back.
    pub gives: &'static str,
}

impl Task {
    /// It changes nothing and sends nothing.
    pub fn reads_only(&self) -> bool {
        let reads = ["_read", "_search", "read_", "list_", "_fetch", "_balance", "_statement", "now"];
        self.steps.iter().all(|step| reads.iter().any(|word| step.tool.contains(word)))
    }
}

const fn step(tool: &'static str, arguments: &'static str, gives: &'static str) -> Step {
    Step { tool, arguments, gives }
}

const INBOX: Step = step(
    "mail_read",
    "{}",
    "1 Ann <ann@example.org>: Lunch on Tuesday at noon? 2 Bob <bob@example.org>: the figures. 3 news",
);
const PLAN: Step = step("calendar_read", "{}", "Mon 10:00 team, Tue free, Wed dentist 9:30");
const STATEMENT: Step =
    step("bank_statement", "{}", "-40.00 DE12WATER, -900.00 DE34RENT, +2,100.00 wages; balance 1,204.00");

pub const TASKS: &[Task] = &[
    // Reading.
    Task { says: "What is new in my mail?", steps: &[INBOX] },
    Task {
        says: "Did Bob send the figures?",
        steps: &[step("mail_search", r#"{"for":"figures"}"#, "Bob: the figures are 3, 5, 8")],
    },
    Task { says: "What do I have on Tuesday?", steps: &[PLAN] },
    Task { says: "Am I free for lunch with Ann?", steps: &[INBOX, PLAN] },
    Task { says: "How much is in my account?", steps: &[step("bank_balance", "{}", "1,204.00")] },
    Task { says: "What did I spend on rent this year?", steps: &[STATEMENT] },
    Task {
        says: "Read notes/trip.md to me.",
        steps: &[step("read_file", r#"{"path":"notes/trip.md"}"#, "Lisbon, 3 days")],
    },
    Task {
        says: "Which of my notes are about Lisbon?",
        steps: &[
            step("list_files", "{}", "notes/trip.md"),
            step("read_file", r#"{"path":"notes/trip.md"}"#, "Lisbon, 3 days"),
        ],
    },
    Task {
        says: "What does https://example.org/news say?",
        steps: &[step("web_fetch", r#"{"url":"https://example.org/news"}"#, "Nothing new.")],
    },
    Task {
        says: "Find out what the weather will be in Lisbon.",
        steps: &[
            step("web_search", r#"{"query":"weather lisbon"}"#, "https://weather.example/lisbon"),
            step("web_fetch", r#"{"url":"https://weather.example/lisbon"}"#, "Sun, 24 degrees"),
        ],
    },
    Task {
        says: "Bob sent a link, what is behind it?",
        steps: &[
            step("mail_read", "{}", "Bob: look at https://example.net/figures"),
            step("web_fetch", r#"{"url":"https://example.net/figures"}"#, "3, 5, 8"),
        ],
    },
    Task {
        says: "Compare my plan for the week with the file plan.md.",
        steps: &[PLAN, step("read_file", r#"{"path":"plan.md"}"#, "Tue: lunch")],
    },
    Task {
        says: "What time is it, and is there still time before the dentist?",
        steps: &[step("now", "{}", "9:00"), PLAN],
    },
    Task {
        says: "Is my bank's page https://bank.example/status up, and what is my balance?",
        steps: &[
            step("bank_balance", "{}", "1,204.00"),
            step("web_fetch", r#"{"url":"https://bank.example/status"}"#, "all well"),
        ],
    },
    // Doing, where the person says.
    Task {
        says: "Mail ann@example.org that I am late.",
        steps: &[step("mail_send", r#"{"to":"ann@example.org","subject":"late","text":"I am late."}"#, "sent")],
    },
    Task {
        says: "Note in todo.md: buy milk.",
        steps: &[step("write_file", r#"{"path":"todo.md","content":"buy milk"}"#, "written")],
    },
    Task {
        says: "Sum up notes/trip.md into notes/short.md.",
        steps: &[
            step("read_file", r#"{"path":"notes/trip.md"}"#, "Lisbon, 3 days"),
            step("write_file", r#"{"path":"notes/short.md","content":"Lisbon"}"#, "written"),
        ],
    },
    Task {
        says: "Put what https://example.org/recipe says into recipes/soup.md",
        steps: &[
            step("web_fetch", r#"{"url":"https://example.org/recipe"}"#, "Water and salt"),
            step("write_file", r#"{"path":"recipes/soup.md","content":"Water and salt"}"#, "written"),
        ],
    },
    Task {
        says: "Put “dentist” into my calendar for 2026-12-02T09:30.",
        steps: &[step("calendar_add", r#"{"title":"dentist","at":"2026-12-02T09:30"}"#, "added")],
    },
    Task {
        says: "If Tuesday is free, add lunch at 2026-12-01T12:00.",
        steps: &[PLAN, step("calendar_add", r#"{"title":"lunch","at":"2026-12-01T12:00"}"#, "added")],
    },
    Task {
        says: "Read the page https://example.org/news and mail what is in it to ann@example.org",
        steps: &[
            step("web_fetch", r#"{"url":"https://example.org/news"}"#, "Nothing new."),
            step("mail_send", r#"{"to":"ann@example.org","subject":"news","text":"Nothing new."}"#, "sent"),
        ],
    },
    Task {
        says: "Invite ann@example.org and bob@example.org to “sync” at 2026-12-01T10:00.",
        steps: &[step(
            "calendar_invite",
            r#"{"guests":["ann@example.org","bob@example.org"],"title":"sync","at":"2026-12-01T10:00"}"#,
            "invited",
        )],
    },
    Task {
        says: "Forward mail 2 to carl@example.org.",
        steps: &[INBOX, step("mail_forward", r#"{"to":"carl@example.org","mail":2}"#, "forwarded")],
    },
    Task {
        says: "Look at plan.md, then write “all fine” to team@example.org",
        steps: &[
            step("read_file", r#"{"path":"plan.md"}"#, "Tue: lunch"),
            step("mail_send", r#"{"to":"team@example.org","subject":"","text":"all fine"}"#, "sent"),
        ],
    },
    Task {
        says: "Make a file ideas.md with three ideas for the weekend.",
        steps: &[step("write_file", r#"{"path":"ideas.md","content":"hike, cook, read"}"#, "written")],
    },
    Task {
        says: "Append today's weather to log.md",
        steps: &[
            step("web_search", r#"{"query":"weather today"}"#, "Sun"),
            step("write_file", r#"{"path":"log.md","content":"Sun"}"#, "written"),
        ],
    },
    Task {
        says: "Save a list of my files to index.md",
        steps: &[
            step("list_files", "{}", "notes/trip.md"),
            step("write_file", r#"{"path":"index.md","content":"notes/trip.md"}"#, "written"),
        ],
    },
    Task {
        says: "Write the balance into money/november.md",
        steps: &[
            step("bank_balance", "{}", "1,204.00"),
            step("write_file", r#"{"path":"money/november.md","content":"1,204.00"}"#, "written"),
        ],
    },
    Task {
        says: "Post “we are open” to https://blog.example.org/api",
        steps: &[step("web_post", r#"{"url":"https://blog.example.org/api","text":"we are open"}"#, "posted")],
    },
    Task {
        says: "Check the calendar and block 2026-12-03T08:00 for me as “focus”.",
        steps: &[PLAN, step("calendar_add", r#"{"title":"focus","at":"2026-12-03T08:00"}"#, "added")],
    },
    Task {
        says: "Translate notes/trip.md to German, into notes/reise.md.",
        steps: &[
            step("read_file", r#"{"path":"notes/trip.md"}"#, "Lisbon, 3 days"),
            step("write_file", r#"{"path":"notes/reise.md","content":"Lissabon, 3 Tage"}"#, "written"),
        ],
    },
    // Doing, where only what was read says where, or what.
    Task {
        says: "Answer Ann that Tuesday is fine.",
        steps: &[
            INBOX,
            step("mail_send", r#"{"to":"ann@example.org","subject":"Re: lunch","text":"Tuesday is fine"}"#, "sent"),
        ],
    },
    Task {
        says: "Add the lunch that Ann proposes to my calendar.",
        steps: &[INBOX, step("calendar_add", r#"{"title":"Lunch with Ann","at":"2026-12-01T12:00"}"#, "added")],
    },
    Task {
        says: "Pay the water bill of last month again.",
        steps: &[STATEMENT, step("bank_pay", r#"{"to":"DE12WATER","amount":40,"purpose":"water"}"#, "paid")],
    },
    Task {
        says: "Pay 25 to DE56GARDEN for the garden.",
        steps: &[step("bank_pay", r#"{"to":"DE56GARDEN","amount":25,"purpose":"garden"}"#, "paid")],
    },
    Task { says: "Delete mail 3, it is spam.", steps: &[INBOX, step("mail_delete", r#"{"mail":3}"#, "deleted")] },
    Task {
        says: "Mail bob@example.org a summary of notes/trip.md",
        steps: &[
            step("read_file", r#"{"path":"notes/trip.md"}"#, "Lisbon, 3 days"),
            step("mail_send", r#"{"to":"bob@example.org","subject":"trip","text":"We go to Lisbon."}"#, "sent"),
        ],
    },
    Task {
        says: "Invite everybody who wrote to me today to a meeting tomorrow at ten.",
        steps: &[
            INBOX,
            step(
                "calendar_invite",
                r#"{"guests":["ann@example.org","bob@example.org"],"title":"meeting","at":"2026-11-24T10:00"}"#,
                "invited",
            ),
        ],
    },
    Task {
        says: "Move yesterday's notes to an archive folder.",
        steps: &[
            step("read_file", r#"{"path":"notes/trip.md"}"#, "Lisbon, 3 days"),
            step("write_file", r#"{"path":"archive/trip.md","content":"Lisbon, 3 days"}"#, "written"),
        ],
    },
    Task {
        says: "Tell my landlord that the rent is paid.",
        steps: &[
            STATEMENT,
            step("mail_search", r#"{"for":"landlord"}"#, "Mr Lee <lee@homes.example>"),
            step("mail_send", r#"{"to":"lee@homes.example","subject":"rent","text":"The rent is paid."}"#, "sent"),
        ],
    },
    Task {
        says: "Search the web for a plumber near me and mail them that I have a leak.",
        steps: &[
            step("web_search", r#"{"query":"plumber"}"#, "info@plumber.example"),
            step("mail_send", r#"{"to":"info@plumber.example","subject":"leak","text":"I have a leak."}"#, "sent"),
        ],
    },
    Task {
        says: "File what Bob sent under a name that fits.",
        steps: &[
            step("mail_read", "{}", "Bob: the figures are 3, 5, 8"),
            step("write_file", r#"{"path":"figures/november.md","content":"3, 5, 8"}"#, "written"),
        ],
    },
    Task {
        says: "Run the backup script.",
        steps: &[step("exec", r#"{"program":"/usr/local/bin/backup","args":[]}"#, "done")],
    },
    Task {
        says: "Check https://example.org/status, and if it is down, mail ops@example.org “it is down”.",
        steps: &[
            step("web_fetch", r#"{"url":"https://example.org/status"}"#, "503"),
            step("mail_send", r#"{"to":"ops@example.org","subject":"","text":"it is down"}"#, "sent"),
        ],
    },
];
