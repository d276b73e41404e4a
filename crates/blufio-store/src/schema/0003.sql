-- Version 3: the vault, what may always run, the audit log.

-- Values are sealed before they come here; allowed_hosts is a JSON list.
CREATE TABLE vault (
    name TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    scope TEXT NOT NULL,
    allowed_hosts TEXT NOT NULL,
    salt BLOB NOT NULL CHECK (length(salt) = 32),
    nonce BLOB NOT NULL CHECK (length(nonce) = 12),
    ct BLOB NOT NULL,
    dek_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The channel's id of who wrote it.
ALTER TABLE inbox ADD COLUMN user INTEGER;

CREATE TABLE vault_header (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    bytes BLOB NOT NULL
) STRICT;

-- Of policy version, tool and arguments: what an "always" would hold for. NULL: it cannot be answered so.
ALTER TABLE approvals ADD COLUMN grant_hash TEXT;
ALTER TABLE approvals ADD COLUMN always INTEGER NOT NULL DEFAULT 0;

-- What an owner's yes is held to besides the arguments.
ALTER TABLE tool_runs ADD COLUMN bound TEXT;

-- Up to this message, words of others are not in the prompt; 0: all are.
ALTER TABLE epochs ADD COLUMN cleared INTEGER NOT NULL DEFAULT 0;

CREATE TABLE grants (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tool TEXT NOT NULL,
    arguments TEXT NOT NULL,
    hash TEXT NOT NULL,
    policy_version INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    revoked_at INTEGER,
    used_at INTEGER,
    uses INTEGER NOT NULL DEFAULT 0,
    CHECK ((used_at IS NULL) = (uses = 0))
) STRICT;
CREATE UNIQUE INDEX grants_live ON grants (hash) WHERE revoked_at IS NULL;

-- Only ever appended to. AUTOINCREMENT, so that a shorter log is noticed.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    ts_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    session TEXT,
    target TEXT NOT NULL,
    detail_hash BLOB NOT NULL,
    outcome TEXT NOT NULL,
    prev BLOB NOT NULL,
    hash BLOB NOT NULL,
    -- Empty if the writer had no key.
    mac BLOB NOT NULL
) STRICT;

-- May be forgotten without breaking the chain.
CREATE TABLE audit_detail (
    seq INTEGER PRIMARY KEY REFERENCES audit (seq),
    salt BLOB NOT NULL,
    json TEXT NOT NULL
) STRICT;
