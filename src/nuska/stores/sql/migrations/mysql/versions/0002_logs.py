"""Announcement logs. Every step may have been done before, as in the first migration."""

from alembic import op
from sqlalchemy import inspect

revision = "0002"
down_revision = "0001"

IN_ROWS = "ENGINE=InnoDB ROW_FORMAT=DYNAMIC"


def upgrade() -> None:
    for table in (LOGS, ANNOUNCEMENTS):
        op.execute(table)
    columns = {column["name"] for column in inspect(op.get_bind()).get_columns("queues")}
    if "log" not in columns:
        op.execute("ALTER TABLE queues ADD COLUMN log BIGINT")


LOGS = f"""
    CREATE TABLE IF NOT EXISTS logs (
        project VARBINARY(1024) NOT NULL,
        name VARBINARY(2048) NOT NULL,
        version VARBINARY(64) NOT NULL,
        last_position BIGINT NOT NULL,
        PRIMARY KEY (project, name)
    ) {IN_ROWS}
"""
ANNOUNCEMENTS = f"""
    CREATE TABLE IF NOT EXISTS announcements (
        generation BIGINT NOT NULL,
        position BIGINT NOT NULL,
        salt VARBINARY(64) NOT NULL,
        body LONGBLOB NOT NULL,
        poster LONGBLOB NOT NULL,
        ttl BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        available_at BIGINT NOT NULL,
        attributes LONGBLOB,
        PRIMARY KEY (generation, position),
        KEY announcements_ending (expires_at)
    ) {IN_ROWS}
"""
