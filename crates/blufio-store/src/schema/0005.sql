-- Version 5: schedules and their runs.

CREATE TABLE schedules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL REFERENCES sessions (id),
    name TEXT NOT NULL,
    channel TEXT NOT NULL,
    account INTEGER NOT NULL,
    chat INTEGER NOT NULL,
    thread INTEGER,
    principal_id TEXT NOT NULL,
    user INTEGER,
    -- JSON, so that later kinds need no column.
    rule TEXT NOT NULL,
    zone TEXT NOT NULL,
    action TEXT NOT NULL,
    -- NULL: it is off.
    next_at INTEGER,
    -- Why it is off.
    off TEXT,
    -- It has run for the last time.
    ended INTEGER NOT NULL DEFAULT 0,
    -- Failures are counted from the run after this one.
    counted_from INTEGER NOT NULL DEFAULT 0,
    -- The owner was told of the failures that there are.
    told INTEGER NOT NULL DEFAULT 0,
    -- The mark of what was seen when something was last asked about it.
    seen INTEGER,
    created INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    UNIQUE (session, name),
    CHECK ((next_at IS NULL) = (off IS NOT NULL)),
    CHECK (ended = 0 OR next_at IS NULL)
) STRICT;
CREATE INDEX schedules_next ON schedules (next_at) WHERE next_at IS NOT NULL;

-- A run is written together with the row that does it, so one is never there without the other. How it ended stands in that
-- row; `state` is only what is left when the row is forgotten.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    schedule INTEGER NOT NULL REFERENCES schedules (id),
    slot INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed', 'skipped', 'unknown')),
    manual INTEGER NOT NULL,
    late INTEGER NOT NULL,
    -- Times before it that were missed.
    skipped INTEGER NOT NULL,
    claimed_at INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    -- Not foreign keys: the run outlives both. Of a reply, the first row.
    inbox INTEGER UNIQUE,
    outbox INTEGER UNIQUE,
    note TEXT NOT NULL DEFAULT '',
    UNIQUE (schedule, slot),
    CHECK (inbox IS NULL OR outbox IS NULL),
    CHECK (state <> 'running' OR inbox IS NOT NULL OR outbox IS NOT NULL)
) STRICT;
CREATE INDEX runs_newest ON runs (schedule, id);
CREATE INDEX runs_open ON runs (claimed_at) WHERE state = 'running';

-- What a turn has said.
CREATE INDEX outbox_turn ON outbox (session, turn) WHERE turn IS NOT NULL;
