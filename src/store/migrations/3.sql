-- Clients, and the keys that their tokens are signed with.

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
    concurrency INTEGER,
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
