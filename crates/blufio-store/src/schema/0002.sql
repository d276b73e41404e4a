-- Version 2: contents beyond words, turns that answer several rows, questions to an owner, groups, files.

-- The chat that the session's messages come from.
ALTER TABLE sessions ADD COLUMN chat INTEGER;
ALTER TABLE sessions ADD COLUMN zone TEXT;
UPDATE sessions SET chat = newest.chat
FROM (SELECT session, chat, max(id) FROM inbox WHERE session IS NOT NULL AND chat IS NOT NULL GROUP BY session) AS newest
WHERE newest.session = sessions.id;

-- What came along with the words; NULL if nothing did.
ALTER TABLE inbox ADD COLUMN content TEXT;
ALTER TABLE inbox ADD COLUMN album TEXT;
-- The row whose turn answers this one together with it. Not a foreign key: each is forgotten on its own.
ALTER TABLE inbox ADD COLUMN joined INTEGER;
CREATE INDEX inbox_joined ON inbox (joined) WHERE joined IS NOT NULL;

-- NULL for a text.
ALTER TABLE outbox ADD COLUMN payload TEXT;
ALTER TABLE outbox ADD COLUMN kind TEXT NOT NULL DEFAULT 'text' CHECK (kind IN ('text', 'notice', 'file', 'question'));
-- 1 for a dead row that nobody misses.
ALTER TABLE outbox ADD COLUMN withdrawn INTEGER NOT NULL DEFAULT 0;
CREATE INDEX outbox_message ON outbox (chat, message_id) WHERE state = 'sent';

-- Said in the session's chat, and not to us.
CREATE TABLE overheard (
    inbox INTEGER NOT NULL PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES sessions (id),
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX overheard_session ON overheard (session, inbox);
CREATE INDEX overheard_at ON overheard (at);

CREATE TABLE approvals (
    id TEXT NOT NULL PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES sessions (id),
    turn INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    -- Of tool, arguments, session, turn and call.
    hash TEXT NOT NULL,
    tool TEXT NOT NULL,
    input TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'superseded', 'closed')),
    -- Where it is shown, all NULL if it is only listed; the message's number is known once it was sent.
    channel TEXT,
    account INTEGER,
    chat INTEGER,
    message_id INTEGER,
    outbox INTEGER,
    question_rich TEXT NOT NULL,
    question_plain TEXT NOT NULL,
    -- The line below the question once it is over, if there is anything to say.
    ending TEXT,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    decided_at INTEGER,
    decided_by TEXT,
    CHECK ((decided_at IS NULL) = (state = 'pending')),
    CHECK ((decided_by IS NULL) = (state NOT IN ('approved', 'denied')))
) STRICT, WITHOUT ROWID;
-- One question per call is open or answered; the others are void.
CREATE UNIQUE INDEX approvals_call ON approvals (session, turn, call_id) WHERE state IN ('pending', 'approved', 'denied');
CREATE UNIQUE INDEX approvals_outbox ON approvals (outbox) WHERE outbox IS NOT NULL;
CREATE INDEX approvals_pending ON approvals (created) WHERE state = 'pending';
CREATE INDEX approvals_over ON approvals (decided_at) WHERE decided_at IS NOT NULL;

CREATE TABLE closed_chats (
    channel TEXT NOT NULL,
    account INTEGER NOT NULL,
    chat INTEGER NOT NULL,
    reason TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (channel, account, chat)
) STRICT, WITHOUT ROWID;

-- Groups that go on under another id.
CREATE TABLE chat_aliases (
    channel TEXT NOT NULL,
    account INTEGER NOT NULL,
    new INTEGER NOT NULL,
    known_as INTEGER NOT NULL,
    PRIMARY KEY (channel, account, new)
) STRICT, WITHOUT ROWID;

CREATE TABLE told (
    topic TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pairing_links (
    code TEXT NOT NULL PRIMARY KEY,
    channel TEXT NOT NULL,
    account INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    -- There was no owner when it was made, so the first one to be paired may become it.
    may_own INTEGER NOT NULL,
    used_by INTEGER
) STRICT, WITHOUT ROWID;

-- Wrong codes.
CREATE TABLE pairing_guesses (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    account INTEGER NOT NULL,
    user INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;

-- Files that a message shows.
CREATE TABLE message_attachments (
    session INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    attachment TEXT NOT NULL,
    PRIMARY KEY (session, seq, attachment),
    FOREIGN KEY (session, seq) REFERENCES messages (session, seq) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
