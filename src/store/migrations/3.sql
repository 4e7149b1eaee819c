-- Clients with their budgets, their users, and the keys that their tokens are signed with.

-- A revoked client keeps its row, so that lines of the ledger can be told whose they are; what it was recognised by is wiped.
CREATE TABLE clients (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    hash        BLOB UNIQUE CHECK (length(hash) = 32), -- HMAC-SHA-256 of the key; NULL: revoked
    mask        TEXT NOT NULL,
    name        TEXT NOT NULL,
    note        TEXT,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    revoked_at  INTEGER,
    models      TEXT, -- a JSON array of patterns; NULL allows every model
    allowance   TEXT NOT NULL, -- what it may use in all, as a JSON object; money in pico-dollars
    per_user    TEXT NOT NULL, -- what each of its users may use
    weight      INTEGER NOT NULL DEFAULT 1,
    CHECK ((hash IS NULL) = (revoked_at IS NOT NULL))
) STRICT;

-- Start-up reads those that are there.
CREATE INDEX clients_there ON clients (id) WHERE hash IS NOT NULL;

CREATE TABLE signing_keys (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    sealed     BLOB NOT NULL,
    made_at    INTEGER NOT NULL,
    retired_at INTEGER
) STRICT;

-- Of acts about clients, which have no key.
ALTER TABLE audit ADD COLUMN client INTEGER;
-- Whose job it is; NULL: anybody's who knows its name.
ALTER TABLE jobs ADD COLUMN client INTEGER;

-- Those of a client's users that a token was issued for. Never removed: lines of the ledger name them by number.
CREATE TABLE client_users (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    client  INTEGER NOT NULL REFERENCES clients (id),
    name    TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    UNIQUE (client, name)
) STRICT;

CREATE INDEX client_users_of ON client_users (client, id);

-- Behind the columns that the chain is made over by then: NULLs are not part of a link.
ALTER TABLE entries ADD COLUMN user INTEGER;
ALTER TABLE entries ADD COLUMN client_held INTEGER; -- of the budgets; held is of the key's caps
ALTER TABLE intents ADD COLUMN user INTEGER;
ALTER TABLE intents ADD COLUMN client_held INTEGER;
ALTER TABLE suspense ADD COLUMN client INTEGER;
CREATE INDEX suspense_of_client ON suspense (client) WHERE settled_at IS NULL AND client IS NOT NULL;

-- Sums of entries by day, client and user. User 0 is the client as a whole, all its users included.
CREATE TABLE client_days (
    client     INTEGER NOT NULL,
    user       INTEGER NOT NULL,
    day        INTEGER NOT NULL,
    requests   INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    prompt     INTEGER NOT NULL,
    completion INTEGER NOT NULL,
    cached     INTEGER NOT NULL,
    reasoning  INTEGER NOT NULL,
    pico       INTEGER NOT NULL,
    PRIMARY KEY (client, user, day)
) STRICT, WITHOUT ROWID;

-- What was refused to a client, which is no entry. User 0 as above.
CREATE TABLE client_refusals (
    client INTEGER NOT NULL,
    user   INTEGER NOT NULL,
    day    INTEGER NOT NULL,
    reason TEXT NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (client, user, day, reason)
) STRICT, WITHOUT ROWID;

-- What a process may spend of a budget without asking again, as leases are of keys. User 0 as above.
CREATE TABLE client_leases (
    client INTEGER NOT NULL,
    user   INTEGER NOT NULL,
    epoch  INTEGER NOT NULL REFERENCES epochs (id),
    amount INTEGER NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (client, user, epoch)
) STRICT, WITHOUT ROWID;

-- What a process that is gone may have spent of a budget: nobody can tell for whom the attempts were that it did not write
-- down, but no more than this. It counts as spent on that day.
CREATE TABLE client_lost (
    client INTEGER NOT NULL,
    user   INTEGER NOT NULL,
    day    INTEGER NOT NULL,
    pico   INTEGER NOT NULL,
    PRIMARY KEY (client, user, day)
) STRICT, WITHOUT ROWID;

-- What was found that a buried process had spent and not written down, on all keys together.
ALTER TABLE epochs ADD COLUMN recovered INTEGER NOT NULL DEFAULT 0;
