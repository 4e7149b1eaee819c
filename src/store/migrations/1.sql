-- Times are milliseconds since 1970 (UTC), days are days since 1970-01-01 (UTC), money is pico-dollars.

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- AUTOINCREMENT: an id is never given twice, also not after its key was removed.
CREATE TABLE keys (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint BLOB NOT NULL UNIQUE CHECK (length(fingerprint) = 32),
    sealed      BLOB NOT NULL,
    label       TEXT,
    donor_id    TEXT,
    donor_name  TEXT,
    account     INTEGER REFERENCES accounts (id),
    added_at    INTEGER NOT NULL,
    health      TEXT NOT NULL,
    since       INTEGER NOT NULL,
    until       INTEGER,
    cause       TEXT NOT NULL,
    note        TEXT,
    free_until  INTEGER,
    strikes     INTEGER NOT NULL,
    verified    INTEGER NOT NULL CHECK (verified IN (0, 1)),
    probe_at    INTEGER,
    remaining   INTEGER
) STRICT;

-- The ledger. Nothing refers out of it: a line must be writable whatever else is true (its key may be gone by then).
-- kind 0 is an attempt, kind 1 the correction that settles it: figures of both add up to the truth.
CREATE TABLE entries (
    id          INTEGER PRIMARY KEY,
    kind        INTEGER NOT NULL CHECK (kind IN (0, 1)),
    request     BLOB NOT NULL CHECK (length(request) = 16),
    attempt     INTEGER NOT NULL,
    opens       INTEGER NOT NULL CHECK (opens IN (0, 1)), -- the first line of its request
    at          INTEGER NOT NULL,
    day         INTEGER NOT NULL, -- a correction's day is its attempt's: the day the upstream billed
    key         INTEGER NOT NULL,
    account     INTEGER,
    endpoint    TEXT NOT NULL,
    model       TEXT,
    generation  TEXT,
    prompt      INTEGER,
    completion  INTEGER,
    cached      INTEGER,
    reasoning   INTEGER,
    pico        INTEGER, -- NULL: unknown, then there is a row in suspense
    byok        INTEGER,
    outcome     TEXT NOT NULL,
    status      INTEGER,
    duration_ms INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX entries_once ON entries (request, attempt, kind);
CREATE INDEX entries_generation ON entries (generation) WHERE generation IS NOT NULL AND kind = 0;

CREATE TRIGGER entries_stay BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'ledger entries are never deleted'); END;
CREATE TRIGGER entries_stand BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;

CREATE TABLE suspense (
    entry      INTEGER PRIMARY KEY REFERENCES entries (id),
    key        INTEGER NOT NULL,
    opened_at  INTEGER NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER, -- NULL: nobody will ask again by himself
    settled_at INTEGER
) STRICT;

CREATE INDEX suspense_due ON suspense (due_at) WHERE settled_at IS NULL AND due_at IS NOT NULL;
CREATE INDEX suspense_open ON suspense (opened_at, key, due_at) WHERE settled_at IS NULL;

-- Sums of entries, written in the entries' own transactions. Key 0 (no key has that id) is the whole pool.
CREATE TABLE day_totals (
    day           INTEGER NOT NULL,
    key           INTEGER NOT NULL,
    requests      INTEGER NOT NULL,
    answered      INTEGER NOT NULL,
    failed_inside INTEGER NOT NULL,
    key_refused   INTEGER NOT NULL,
    refused       INTEGER NOT NULL,
    unreachable   INTEGER NOT NULL,
    broken        INTEGER NOT NULL,
    client_gone   INTEGER NOT NULL,
    prompt        INTEGER NOT NULL,
    completion    INTEGER NOT NULL,
    cached        INTEGER NOT NULL,
    reasoning     INTEGER NOT NULL,
    pico          INTEGER NOT NULL,
    byok          INTEGER NOT NULL,
    PRIMARY KEY (day, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE key_totals (
    key           INTEGER NOT NULL PRIMARY KEY,
    requests      INTEGER NOT NULL,
    answered      INTEGER NOT NULL,
    failed_inside INTEGER NOT NULL,
    key_refused   INTEGER NOT NULL,
    refused       INTEGER NOT NULL,
    unreachable   INTEGER NOT NULL,
    broken        INTEGER NOT NULL,
    client_gone   INTEGER NOT NULL,
    prompt        INTEGER NOT NULL,
    completion    INTEGER NOT NULL,
    cached        INTEGER NOT NULL,
    reasoning     INTEGER NOT NULL,
    pico          INTEGER NOT NULL,
    byok          INTEGER NOT NULL
) STRICT;

-- The first line that belongs to a day: no earlier line does, so a day is read without reading all days.
CREATE TABLE day_starts (
    day   INTEGER PRIMARY KEY,
    entry INTEGER NOT NULL REFERENCES entries (id)
) STRICT;

CREATE TABLE jobs (
    id      TEXT NOT NULL PRIMARY KEY,
    key     INTEGER NOT NULL,
    request BLOB NOT NULL CHECK (length(request) = 16),
    attempt INTEGER NOT NULL,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id     INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    action TEXT NOT NULL,
    key    INTEGER,
    detail TEXT
) STRICT;

CREATE TRIGGER audit_stays BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit lines are never deleted'); END;
CREATE TRIGGER audit_stands BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit lines are never changed'); END;
