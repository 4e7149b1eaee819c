-- Limits, leases, open attempts, sums by model, and a chain through each key's lines.
--
-- A step-1 process may go on writing during an upgrade: its lines have no chain. They are summed up in day_models when it is
-- gone: a trigger that did it at once would make each insert keep a copy of every page it touches, for ever.

ALTER TABLE keys ADD COLUMN cap_day INTEGER;
ALTER TABLE keys ADD COLUMN cap_week INTEGER;
ALTER TABLE keys ADD COLUMN cap_month INTEGER;
ALTER TABLE keys ADD COLUMN cap_total INTEGER;
ALTER TABLE keys ADD COLUMN reserve INTEGER;
ALTER TABLE keys ADD COLUMN models TEXT; -- a JSON array of patterns; NULL allows every model
ALTER TABLE keys ADD COLUMN concurrency INTEGER;
ALTER TABLE keys ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN expires_at INTEGER;
-- What OpenRouter said was left of the key's limit and on its account, and what the key had paid through us by then.
ALTER TABLE keys ADD COLUMN limit_left INTEGER;
ALTER TABLE keys ADD COLUMN limit_paid INTEGER;
ALTER TABLE keys ADD COLUMN credit_left INTEGER;
ALTER TABLE keys ADD COLUMN credit_paid INTEGER;
-- The key's own usage against the ledger, when it was last compared; all NULL before.
ALTER TABLE keys ADD COLUMN usage_at INTEGER;
ALTER TABLE keys ADD COLUMN usage_total INTEGER;
ALTER TABLE keys ADD COLUMN usage_settled INTEGER;
ALTER TABLE keys ADD COLUMN usage_before INTEGER;
ALTER TABLE keys ADD COLUMN usage_elsewhere INTEGER;
ALTER TABLE keys ADD COLUMN usage_drift INTEGER;
-- Start-up reads the days of these keys only.
CREATE INDEX keys_capped ON keys (id) WHERE coalesce(cap_day, cap_week, cap_month, cap_total) IS NOT NULL;

ALTER TABLE entries ADD COLUMN client INTEGER;
ALTER TABLE entries ADD COLUMN held INTEGER;
ALTER TABLE entries ADD COLUMN basis TEXT; -- of a correction; NULL, from before, is the upstream's word
ALTER TABLE entries ADD COLUMN chain BLOB; -- NULL: from before there was one

-- Each index below costs every line a write, so each has a question that 10 million lines could not answer without it.
-- The lines of a time span, and the newest ones. Times grow: a write at the tree's right edge.
CREATE INDEX entries_at ON entries (at);
-- A donor's lines; the line before a line of the same key.
CREATE INDEX entries_of_key ON entries (key, at);
-- A client's lines. No cost while clients are not told apart.
CREATE INDEX entries_of_client ON entries (client, at) WHERE client IS NOT NULL;
-- What went wrong: few lines among many, and so few writes. Answered lines are most lines: those are found by time.
CREATE INDEX entries_failed ON entries (outcome, at) WHERE outcome <> 'answered';
-- Models have no index: whoever asks for one reads through a time span, a key's or a client's lines.

-- Lines that are rolled up are looked for here, as something may refer to them.
CREATE INDEX day_starts_of ON day_starts (entry);

ALTER TABLE suspense ADD COLUMN held INTEGER; -- the worst cost; NULL: nobody knows it
CREATE INDEX suspense_of_key ON suspense (key, held) WHERE settled_at IS NULL;

-- An epoch is one opening of the store by one process. closed_at: it gave everything back. buried_at: it is gone without,
-- and may never lease again.
CREATE TABLE epochs (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    buried_at INTEGER
) STRICT;

-- What a process may spend without asking again. It counts as spent, also when its process is gone. unbounded: the
-- process used the key when nothing was held.
CREATE TABLE leases (
    key       INTEGER NOT NULL,
    epoch     INTEGER NOT NULL REFERENCES epochs (id),
    amount    INTEGER NOT NULL CHECK (amount >= 0),
    unbounded INTEGER NOT NULL CHECK (unbounded IN (0, 1)),
    PRIMARY KEY (key, epoch)
) STRICT, WITHOUT ROWID;

-- Attempts under way for longer than a moment. An attempt's entry removes its row.
CREATE TABLE intents (
    request    BLOB NOT NULL CHECK (length(request) = 16),
    attempt    INTEGER NOT NULL,
    epoch      INTEGER NOT NULL REFERENCES epochs (id),
    at         INTEGER NOT NULL,
    key        INTEGER NOT NULL,
    account    INTEGER,
    client     INTEGER,
    endpoint   TEXT NOT NULL,
    model      TEXT,
    generation TEXT,
    held       INTEGER,
    PRIMARY KEY (request, attempt)
) STRICT, WITHOUT ROWID;

-- Sums of entries again, finer: model '' and client 0 stand for none. by_usage and by_estimate are parts of pico that rest
-- on less than the upstream's word.
CREATE TABLE day_models (
    day         INTEGER NOT NULL,
    key         INTEGER NOT NULL,
    model       TEXT NOT NULL,
    client      INTEGER NOT NULL,
    outcome     TEXT NOT NULL,
    requests    INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    prompt      INTEGER NOT NULL,
    completion  INTEGER NOT NULL,
    cached      INTEGER NOT NULL,
    reasoning   INTEGER NOT NULL,
    pico        INTEGER NOT NULL,
    byok        INTEGER NOT NULL,
    by_usage    INTEGER NOT NULL,
    by_estimate INTEGER NOT NULL,
    PRIMARY KEY (day, key, model, client, outcome)
) STRICT, WITHOUT ROWID;

-- The part of day_models whose lines are gone: what is left of the entries adds up to the rest.
CREATE TABLE rolled_up (
    day         INTEGER NOT NULL,
    key         INTEGER NOT NULL,
    model       TEXT NOT NULL,
    client      INTEGER NOT NULL,
    outcome     TEXT NOT NULL,
    requests    INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    prompt      INTEGER NOT NULL,
    completion  INTEGER NOT NULL,
    cached      INTEGER NOT NULL,
    reasoning   INTEGER NOT NULL,
    pico        INTEGER NOT NULL,
    byok        INTEGER NOT NULL,
    by_usage    INTEGER NOT NULL,
    by_estimate INTEGER NOT NULL,
    PRIMARY KEY (day, key, model, client, outcome)
) STRICT, WITHOUT ROWID;

-- Through each key's lines runs a chain of hashes. start: what its first line that is still there follows on (zeros at the
-- very first); head: its last line's.
CREATE TABLE chains (
    key   INTEGER PRIMARY KEY,
    start BLOB NOT NULL CHECK (length(start) = 32),
    head  BLOB NOT NULL CHECK (length(head) = 32)
) STRICT;
