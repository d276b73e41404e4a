-- Version 1. Times are milliseconds since 1970 UTC, money is micro-dollars. A released version is never edited.

PRAGMA application_id = 1112298822; -- "BLUF"

-- Single numbers: boot, clean (the last process said goodbye), probe.
CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL DEFAULT 'main',
    principal_id TEXT,
    purpose TEXT NOT NULL DEFAULT 'chat',
    model TEXT,
    stop_before INTEGER NOT NULL DEFAULT 0,
    -- Kept here because retention may delete the message that held the highest number.
    last_message INTEGER NOT NULL DEFAULT 0,
    last_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_last ON sessions (last_at);

-- What arrived. The four columns of the identity are kept as long as the row.
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    account INTEGER NOT NULL,
    update_id INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('received', 'claimed', 'done', 'dropped', 'poison')),
    outcome TEXT,
    session INTEGER REFERENCES sessions (id),
    chat INTEGER,
    thread INTEGER,
    reply_to INTEGER,
    principal_id TEXT,
    text TEXT NOT NULL DEFAULT '',
    -- What was answered, for somebody who waits for this row.
    answer TEXT,
    raw BLOB NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    claimed_boot INTEGER,
    at INTEGER NOT NULL,
    done_at INTEGER,
    UNIQUE (channel, account, update_id, fingerprint),
    CHECK ((done_at IS NULL) = (state IN ('received', 'claimed'))),
    CHECK ((claimed_boot IS NULL) = (state <> 'claimed'))
) STRICT;
CREATE INDEX inbox_waiting ON inbox (session, id) WHERE state = 'received';
CREATE INDEX inbox_done ON inbox (done_at) WHERE done_at IS NOT NULL;

CREATE TABLE cursors (
    channel TEXT NOT NULL,
    account INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    PRIMARY KEY (channel, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE turns (
    session INTEGER NOT NULL REFERENCES sessions (id),
    turn INTEGER NOT NULL,
    -- Not a foreign key: the turn outlives its inbox row.
    inbox INTEGER NOT NULL UNIQUE,
    agent_id TEXT NOT NULL DEFAULT 'main',
    principal_id TEXT NOT NULL,
    purpose TEXT NOT NULL DEFAULT 'chat',
    state TEXT NOT NULL CHECK (state IN ('running', 'done')),
    outcome TEXT,
    deadline INTEGER NOT NULL,
    placeholder INTEGER,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    -- 0 once retention has removed its steps and tool runs.
    journal INTEGER NOT NULL DEFAULT 1,
    -- 0 once retention has removed its messages.
    messages INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (session, turn),
    CHECK ((state = 'running') = (closed_at IS NULL)),
    CHECK ((outcome IS NULL) = (closed_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX turns_running ON turns (session) WHERE state = 'running';
CREATE INDEX turns_journal ON turns (closed_at) WHERE journal = 1;
CREATE INDEX turns_messages ON turns (closed_at) WHERE messages = 1;

CREATE TABLE steps (
    session INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    -- 0 for the steps that only say that the turn was taken up.
    progress INTEGER NOT NULL,
    version INTEGER NOT NULL,
    input TEXT NOT NULL,
    PRIMARY KEY (session, turn, seq),
    FOREIGN KEY (session, turn) REFERENCES turns (session, turn)
) STRICT, WITHOUT ROWID;

CREATE TABLE epochs (
    session INTEGER NOT NULL REFERENCES sessions (id),
    number INTEGER NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    system BLOB NOT NULL,
    tools BLOB NOT NULL,
    first INTEGER NOT NULL,
    PRIMARY KEY (session, number)
) STRICT;

CREATE TABLE messages (
    session INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    parts TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (session, seq),
    FOREIGN KEY (session, turn) REFERENCES turns (session, turn)
) STRICT;
CREATE INDEX messages_turn ON messages (session, turn, seq);

-- The bytes a vendor gets back verbatim, under one epoch.
CREATE TABLE wire (
    session INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (session, epoch, seq),
    FOREIGN KEY (session, epoch) REFERENCES epochs (session, number),
    FOREIGN KEY (session, seq) REFERENCES messages (session, seq)
) STRICT;
CREATE INDEX wire_message ON wire (session, seq);

CREATE TABLE tool_runs (
    session INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    place INTEGER NOT NULL,
    round INTEGER NOT NULL,
    name TEXT NOT NULL,
    input TEXT NOT NULL,
    replay TEXT NOT NULL CHECK (replay IN ('pure', 'idempotent', 'effectful')),
    state TEXT NOT NULL CHECK (state IN ('planned', 'awaiting_approval', 'started', 'done', 'unknown')),
    boot INTEGER,
    content TEXT,
    error INTEGER,
    -- How often it was started.
    starts INTEGER NOT NULL,
    PRIMARY KEY (session, turn, call_id),
    FOREIGN KEY (session, turn) REFERENCES turns (session, turn)
) STRICT;

CREATE TABLE ledger (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    call INTEGER NOT NULL,
    agent_id TEXT NOT NULL DEFAULT 'main',
    principal_id TEXT NOT NULL,
    purpose TEXT NOT NULL DEFAULT 'chat',
    model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'counted_estimate', 'free')),
    held INTEGER NOT NULL,
    -- What it counts for now: the held amount, the cost, the estimate, or nothing.
    amount INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    max_tokens INTEGER NOT NULL,
    input INTEGER,
    cache_write_5m INTEGER,
    cache_write_1h INTEGER,
    cache_read INTEGER,
    output INTEGER,
    request TEXT,
    failure TEXT,
    boot INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    UNIQUE (session, turn, call),
    FOREIGN KEY (session, turn) REFERENCES turns (session, turn),
    CHECK ((state = 'held') = (closed_at IS NULL)),
    CHECK ((state = 'settled') = (output IS NOT NULL))
) STRICT;
CREATE INDEX ledger_closed ON ledger (closed_at);

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER REFERENCES sessions (id),
    turn INTEGER,
    -- The first row of the reply that this row is a part of.
    reply INTEGER NOT NULL,
    channel TEXT NOT NULL,
    account INTEGER NOT NULL,
    chat INTEGER NOT NULL,
    thread INTEGER,
    reply_to INTEGER,
    body_rich TEXT NOT NULL,
    body_plain TEXT NOT NULL,
    replaces INTEGER,
    state TEXT NOT NULL CHECK (state IN ('queued', 'sending', 'sent', 'dead')),
    attempt INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    maybe_duplicate INTEGER NOT NULL DEFAULT 0,
    message_id INTEGER,
    error TEXT,
    at INTEGER NOT NULL,
    done_at INTEGER,
    CHECK ((done_at IS NULL) = (state IN ('queued', 'sending')))
) STRICT;
-- Queries repeat the WHERE clause word for word; otherwise SQLite does not see that the index serves them.
CREATE INDEX outbox_waiting ON outbox (channel, account, chat, id) WHERE state IN ('queued', 'sending');
CREATE INDEX outbox_reply ON outbox (reply, id) WHERE state IN ('queued', 'sending');
CREATE INDEX outbox_done ON outbox (done_at) WHERE done_at IS NOT NULL;

CREATE TABLE pairings (
    channel TEXT NOT NULL,
    account INTEGER NOT NULL,
    user INTEGER NOT NULL,
    name TEXT NOT NULL,
    owner INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (channel, account, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE pairing_requests (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    account INTEGER NOT NULL,
    user INTEGER NOT NULL,
    name TEXT NOT NULL,
    code TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected')),
    at INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;

INSERT INTO meta (key, value) VALUES ('boot', 0), ('clean', 1), ('probe', 0);
