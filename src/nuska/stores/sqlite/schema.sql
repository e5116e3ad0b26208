-- Version 1. PRAGMA user_version carries the version; schema.py refuses newer ones.
--
-- A message stands at (generation, position). A generation is one life of a queue's content:
-- purge and delete start another one, and the old one's rows are swept later (D17).
-- available_at: NULL = ready, unless an unmarked claim has it; else it waits until then,
-- delayed (claim NULL) or claimed.

CREATE TABLE timeline (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last_moment INTEGER NOT NULL              -- ms; no operation happens before it (D4)
) STRICT;

CREATE TABLE queues (
    id INTEGER PRIMARY KEY AUTOINCREMENT,     -- never given twice: `posts` may outlive the queue
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    base_position INTEGER NOT NULL,           -- positions up to here belong to earlier generations
    last_position INTEGER NOT NULL,           -- kept only where it ran ahead of the timeline
    metadata BLOB NOT NULL,                   -- JSON
    relaxed INTEGER NOT NULL,
    version INTEGER NOT NULL,
    fenced INTEGER NOT NULL DEFAULT 0,        -- it answers nobody but whoever carries it away
    epoch INTEGER NOT NULL DEFAULT 0          -- of who made or fenced it last from outside
) STRICT;
CREATE UNIQUE INDEX queues_by_name ON queues (project, name);
CREATE UNIQUE INDEX queues_by_generation ON queues (generation);

CREATE TABLE old_generations (
    generation INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE messages (
    generation INTEGER NOT NULL,
    position INTEGER NOT NULL,
    salt BLOB NOT NULL,                       -- the random part of the public id
    posted_position INTEGER,                  -- in the id, if it is not `position`: it has moved
    body BLOB NOT NULL,                       -- JSON as posted
    poster BLOB NOT NULL,
    ttl INTEGER NOT NULL,                     -- ms, as shown
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    available_at INTEGER,
    claim BLOB,
    claim_count INTEGER NOT NULL,
    attributes BLOB,
    dead BLOB,                                -- JSON: why it was dead-lettered
    PRIMARY KEY (generation, position)
) STRICT, WITHOUT ROWID;

-- Claims and lists read `ready` in order; its last two columns let them pass over expired
-- messages and a reader's own without touching the rows.
CREATE INDEX ready ON messages (generation, position, expires_at, poster)
    WHERE available_at IS NULL;
-- Also finds the messages of a claim: they share its end and its id.
CREATE INDEX waiting ON messages (generation, available_at, claim, position, expires_at)
    WHERE available_at IS NOT NULL;
CREATE INDEX ending ON messages (expires_at);

CREATE TABLE claims (
    generation INTEGER NOT NULL,
    claim BLOB NOT NULL,
    ttl INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    first INTEGER,                            -- where it stands in `unmarked`, or stood
    PRIMARY KEY (generation, claim)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_ending ON claims (expires_at);

-- Claims whose messages are not marked: they are what is ready from the first to the last position
-- and lived when the claim was made.
CREATE TABLE unmarked (
    generation INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    messages INTEGER NOT NULL,                -- at first
    claim BLOB NOT NULL,
    started_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (generation, first)
) STRICT, WITHOUT ROWID;

-- When delayed messages of a generation come due, one row per moment.
CREATE TABLE delays_ending (
    available_at INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (available_at, generation)
) STRICT, WITHOUT ROWID;

-- Ids of messages that no longer stand where they were posted.
CREATE TABLE moved (
    generation INTEGER NOT NULL,
    posted_position INTEGER NOT NULL,
    salt BLOB NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (generation, posted_position, salt)
) STRICT, WITHOUT ROWID;

-- Posts remembered by their Idempotency-Key. Their ids are consecutive positions.
CREATE TABLE posts (
    queue INTEGER NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    first_position INTEGER NOT NULL,
    salts BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (queue, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX posts_ending ON posts (expires_at);

-- The last message that came to a queue from each source in another store.
CREATE TABLE arrivals (
    queue INTEGER NOT NULL,
    source TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (queue, source)
) STRICT, WITHOUT ROWID;

-- Announcement logs that are open, also of queues that do not exist. What a log holds is of a
-- generation of its own: emptying it starts another one.
CREATE TABLE logs (
    version INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, not to another log either
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    generation INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX logs_by_name ON logs (project, name);

-- Messages as they were posted. The body comes last, so that whoever passes over expired ones
-- reads none.
CREATE TABLE announcements (
    generation INTEGER NOT NULL,
    position INTEGER NOT NULL,
    salt BLOB NOT NULL,
    ttl INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    available_at INTEGER,
    poster BLOB NOT NULL,
    attributes BLOB,
    body BLOB NOT NULL,
    PRIMARY KEY (generation, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX announcements_ending ON announcements (expires_at);

-- Small documents: pools, flavors, where queues lie.
CREATE TABLE records (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (collection, key)
) STRICT, WITHOUT ROWID;
