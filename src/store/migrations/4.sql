-- Whether the books of a key do not follow from its lines, and since when that is known; NULL: as far as anybody has looked
-- they do.
ALTER TABLE keys ADD COLUMN unsound_at INTEGER;

-- When clients have lines, by spans of 128 milliseconds (at >> 7): a client's lines are found among those of the spans that it
-- has any in. An index of lines by client, which every line would be written to, is dropped for it once nobody else writes
-- who does not know of spans.
CREATE TABLE client_spans (
    client INTEGER NOT NULL,
    span   INTEGER NOT NULL,
    PRIMARY KEY (client, span)
) STRICT, WITHOUT ROWID;
