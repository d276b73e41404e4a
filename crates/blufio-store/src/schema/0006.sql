-- Version 6: what is remembered.

-- Messages up to this one are passages, if there is anything in them to find.
ALTER TABLE sessions ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX sessions_unindexed ON sessions (id) WHERE indexed < last_message;

-- Up to this message, what is worth knowing was written down. What was said before this version is not looked through.
ALTER TABLE sessions ADD COLUMN learned INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET learned = last_message;
CREATE INDEX sessions_unlearned ON sessions (last_at) WHERE learned < last_message;

-- Whose memory it is. A row of an index of words has the number scope * 2^40 + id, so that a search reads no other's.
CREATE TABLE scopes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- The models whose vectors there are or were.
CREATE TABLE vector_models (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- A message goes only together with its passage.
CREATE TABLE passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    scope INTEGER NOT NULL REFERENCES scopes (id),
    session INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    speaker TEXT NOT NULL,
    text TEXT NOT NULL,
    -- Words of others are in it, or may be.
    others INTEGER NOT NULL,
    -- The model whose vectors it has, or whose it needs none of; 0: none yet.
    embedded INTEGER NOT NULL DEFAULT 0,
    UNIQUE (session, seq),
    FOREIGN KEY (session, seq) REFERENCES messages (session, seq)
) STRICT;
CREATE INDEX passages_embedded ON passages (embedded, id DESC);

CREATE TABLE facts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    scope INTEGER NOT NULL REFERENCES scopes (id),
    kind TEXT NOT NULL CHECK (kind IN ('standing', 'fact', 'event')),
    subject TEXT NOT NULL,
    statement TEXT NOT NULL,
    -- Not foreign keys: the fact outlives its messages.
    source_session INTEGER,
    source_first INTEGER,
    source_last INTEGER,
    said TEXT NOT NULL CHECK (said IN ('owner', 'person', 'agent', 'foreign')),
    confidence INTEGER NOT NULL,
    valid_from INTEGER,
    valid_to INTEGER,
    learned_at INTEGER NOT NULL,
    supersedes INTEGER REFERENCES facts (id) ON DELETE SET NULL,
    superseded_by INTEGER REFERENCES facts (id) ON DELETE SET NULL,
    pinned INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'superseded', 'corrected', 'withdrawn')),
    embedded INTEGER NOT NULL DEFAULT 0,
    CHECK (kind <> 'standing' OR said IN ('owner', 'person')),
    CHECK ((source_session IS NULL) = (source_first IS NULL) AND (source_first IS NULL) = (source_last IS NULL)),
    CHECK (superseded_by IS NULL OR state <> 'open')
) STRICT;
CREATE INDEX facts_scope ON facts (scope, state, id);
CREATE INDEX facts_embedded ON facts (embedded, id DESC);
CREATE INDEX facts_supersedes ON facts (supersedes) WHERE supersedes IS NOT NULL;
CREATE INDEX facts_superseded_by ON facts (superseded_by) WHERE superseded_by IS NOT NULL;

-- What was done to facts, without their words. Only ever appended to, but for the number of what has undone it.
CREATE TABLE fact_changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Not foreign keys: the log outlives what is forgotten.
    fact INTEGER NOT NULL,
    scope INTEGER NOT NULL,
    what TEXT NOT NULL CHECK (what IN ('added', 'edited', 'undone', 'forgotten')),
    by TEXT NOT NULL,
    at INTEGER NOT NULL,
    -- The state of the facts that it has changed, before and after, as JSON.
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    undone_by INTEGER
) STRICT;
CREATE INDEX fact_changes_fact ON fact_changes (fact, id);

-- The memory as it was last written into its file, so that edits of the file are known.
CREATE TABLE memory_file (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    text TEXT NOT NULL
) STRICT;

-- Searched by the signs that the process keeps in memory, then read by number. Numbers only grow, so that what is new is known.
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    scope INTEGER NOT NULL,
    passage INTEGER REFERENCES passages (id) ON DELETE CASCADE,
    fact INTEGER REFERENCES facts (id) ON DELETE CASCADE,
    piece INTEGER NOT NULL,
    model INTEGER NOT NULL REFERENCES vector_models (id),
    scale REAL NOT NULL,
    v BLOB NOT NULL,
    CHECK ((passage IS NULL) <> (fact IS NULL))
) STRICT;
CREATE UNIQUE INDEX vectors_passage ON vectors (passage, piece) WHERE passage IS NOT NULL;
CREATE UNIQUE INDEX vectors_fact ON vectors (fact, piece) WHERE fact IS NOT NULL;

-- The index of words. It keeps what it indexes: removing a row then needs nothing but its number, also after the way in which
-- words are cut has changed. (Tables that keep nothing only mark a row as removed and leave its words in the file.)
-- said: the text; around: the message before; of a fact, its subject.
CREATE VIRTUAL TABLE passage_words USING fts5 (dated, said, around, tokenize = 'porter unicode61 remove_diacritics 2');
INSERT INTO passage_words (passage_words, rank) VALUES ('secure-delete', 1);
CREATE VIRTUAL TABLE fact_words USING fts5 (dated, said, around, tokenize = 'porter unicode61 remove_diacritics 2');
INSERT INTO fact_words (fact_words, rank) VALUES ('secure-delete', 1);
