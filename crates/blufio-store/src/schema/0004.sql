-- Version 4: budgets and what calls cost.

-- Why this model.
ALTER TABLE ledger ADD COLUMN reason TEXT NOT NULL DEFAULT 'usual';
-- What a settled call would have cost without any cache; NULL where nobody knew yet.
ALTER TABLE ledger ADD COLUMN uncached INTEGER;
-- How much work goes into answers; NULL: as configured.
ALTER TABLE sessions ADD COLUMN effort TEXT;

-- What takes the place of the messages before the first one; NULL: nothing does.
ALTER TABLE epochs ADD COLUMN summary TEXT;
-- Changes whenever the configuration of system text and tools does.
ALTER TABLE epochs ADD COLUMN configured TEXT NOT NULL DEFAULT '';
-- The system text holds what is the owner's own.
ALTER TABLE epochs ADD COLUMN private INTEGER NOT NULL DEFAULT 0;

-- Sums of a day and a month are read from the index alone.
CREATE INDEX ledger_opened ON ledger (opened_at, session, principal_id, agent_id, amount);
CREATE INDEX ledger_held ON ledger (id) WHERE state = 'held';
DROP INDEX ledger_closed;

INSERT INTO meta (key, value) VALUES ('killed', 0);
