"""The first tables.

A migration that has been released is never changed: it says what a database was made with.
These servers commit after every statement that makes a table, so a migration may be cut off
between any two: every step finds out whether it has been done before, and a table is made in
one statement with its indexes (which is why these are not made by alembic's own commands).

A project and the name of a queue have 3072 bytes together, which is what an index takes.
"""

from alembic import op

revision = "0001"
down_revision = None

IN_ROWS = "ENGINE=InnoDB ROW_FORMAT=DYNAMIC"


def upgrade() -> None:
    for table in (*QUEUES, *MESSAGES, *OTHERS):
        op.execute(table)
    op.execute(
        "INSERT INTO timeline (one, last_moment) VALUES (1, 0) "
        "ON DUPLICATE KEY UPDATE last_moment = last_moment"
    )


QUEUES = (
    f"""
    CREATE TABLE IF NOT EXISTS generations (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        retired BOOL NOT NULL,
        KEY generations_retired (retired)
    ) {IN_ROWS}
    """,
    # Their numbers are never given twice: `posts` may outlive the queue. Positions up to the
    # base belong to earlier generations.
    f"""
    CREATE TABLE IF NOT EXISTS queues (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        project VARBINARY(1024) NOT NULL,
        name VARBINARY(2048) NOT NULL,
        generation BIGINT NOT NULL,
        base_position BIGINT NOT NULL,
        last_position BIGINT NOT NULL,
        last_moment BIGINT NOT NULL,
        metadata LONGBLOB NOT NULL,
        relaxed BOOL NOT NULL,
        version BIGINT NOT NULL,
        fenced BOOL NOT NULL,
        epoch BIGINT NOT NULL,
        UNIQUE KEY queues_by_name (project, name),
        KEY queues_listed (project, fenced),
        KEY queues_by_generation (generation)
    ) {IN_ROWS}
    """,
    # What is locked by those who work on messages of a queue, beside those who post.
    f"""
    CREATE TABLE IF NOT EXISTS gates (
        project VARBINARY(1024) NOT NULL,
        name VARBINARY(2048) NOT NULL,
        queue BIGINT NOT NULL,
        generation BIGINT NOT NULL,
        base_position BIGINT NOT NULL,
        fenced BOOL NOT NULL,
        PRIMARY KEY (project, name),
        UNIQUE KEY gates_by_queue (queue)
    ) {IN_ROWS}
    """,
    f"""
    CREATE TABLE IF NOT EXISTS deleted_queues (
        project VARBINARY(1024) NOT NULL,
        name VARBINARY(2048) NOT NULL,
        last_position BIGINT NOT NULL,
        PRIMARY KEY (project, name),
        KEY deleted_queues_by_position (last_position)
    ) {IN_ROWS}
    """,
)

MESSAGES = (
    # With the claim in the index, who looks for the messages of one locks no others.
    f"""
    CREATE TABLE IF NOT EXISTS messages (
        generation BIGINT NOT NULL,
        position BIGINT NOT NULL,
        salt VARBINARY(64) NOT NULL,
        posted_position BIGINT,
        body LONGBLOB NOT NULL,
        poster LONGBLOB NOT NULL,
        ttl BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        available_at BIGINT NOT NULL,
        claim VARBINARY(64),
        claim_count BIGINT NOT NULL,
        attributes LONGBLOB,
        dead LONGBLOB,
        PRIMARY KEY (generation, position),
        KEY messages_in_line (generation, available_at, claim, position),
        KEY messages_ending (expires_at)
    ) {IN_ROWS}
    """,
    f"""
    CREATE TABLE IF NOT EXISTS claims (
        generation BIGINT NOT NULL,
        claim VARBINARY(64) NOT NULL,
        ttl BIGINT NOT NULL,
        started_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        PRIMARY KEY (generation, claim),
        KEY claims_ending (expires_at)
    ) {IN_ROWS}
    """,
    f"""
    CREATE TABLE IF NOT EXISTS delays_ending (
        available_at BIGINT NOT NULL,
        generation BIGINT NOT NULL,
        PRIMARY KEY (available_at, generation)
    ) {IN_ROWS}
    """,
    f"""
    CREATE TABLE IF NOT EXISTS moved (
        generation BIGINT NOT NULL,
        posted_position BIGINT NOT NULL,
        salt VARBINARY(64) NOT NULL,
        position BIGINT NOT NULL,
        PRIMARY KEY (generation, posted_position, salt)
    ) {IN_ROWS}
    """,
)

OTHERS = (
    f"""
    CREATE TABLE IF NOT EXISTS posts (
        queue BIGINT NOT NULL,
        `key` VARBINARY(2048) NOT NULL,
        fingerprint LONGBLOB NOT NULL,
        first_position BIGINT NOT NULL,
        salts LONGBLOB NOT NULL,
        expires_at BIGINT NOT NULL,
        PRIMARY KEY (queue, `key`),
        KEY posts_ending (expires_at)
    ) {IN_ROWS}
    """,
    f"""
    CREATE TABLE IF NOT EXISTS arrivals (
        queue BIGINT NOT NULL,
        source VARBINARY(1024) NOT NULL,
        position BIGINT NOT NULL,
        PRIMARY KEY (queue, source)
    ) {IN_ROWS}
    """,
    # A collection may be those of one project; a key may have a project and a queue's name in it.
    f"""
    CREATE TABLE IF NOT EXISTS records (
        collection VARBINARY(1056) NOT NULL,
        `key` VARBINARY(2016) NOT NULL,
        value MEDIUMBLOB NOT NULL,
        version VARBINARY(64) NOT NULL,
        PRIMARY KEY (collection, `key`)
    ) {IN_ROWS}
    """,
    f"""
    CREATE TABLE IF NOT EXISTS timeline (
        one INT NOT NULL PRIMARY KEY,
        last_moment BIGINT NOT NULL
    ) {IN_ROWS}
    """,
    # What nodes tell each other; in memory alone, for a restart makes it worthless. Its key is
    # no b-tree, of which MariaDB leaves out rows when a range of them is deleted.
    """
    CREATE TABLE IF NOT EXISTS hints (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        payload VARBINARY(8000) NOT NULL
    ) ENGINE=MEMORY
    """,
)
