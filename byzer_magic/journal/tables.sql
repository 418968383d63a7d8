CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    asked TEXT NOT NULL,
    sample INTEGER NOT NULL,
    at REAL NOT NULL,
    alias TEXT NOT NULL,
    provider TEXT NOT NULL,
    title TEXT NOT NULL,
    method TEXT NOT NULL,
    request TEXT NOT NULL,
    prompt TEXT NOT NULL,
    answer TEXT NOT NULL,
    pieces BLOB NOT NULL,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cost REAL,
    currency TEXT NOT NULL,
    usage BLOB,
    ttft REAL,
    total REAL NOT NULL,
    queued REAL NOT NULL,
    worker INTEGER,
    status TEXT NOT NULL,
    error TEXT,
    face TEXT NOT NULL,
    notebook TEXT NOT NULL,
    cell TEXT NOT NULL,
    request_id TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_key ON entries (key, status);
CREATE INDEX IF NOT EXISTS entries_at ON entries (at);
CREATE INDEX IF NOT EXISTS entries_request ON entries (request_id);
CREATE TABLE IF NOT EXISTS media (
    digest TEXT NOT NULL,
    entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    PRIMARY KEY (digest, entry)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS media_entry ON media (entry);
CREATE TABLE IF NOT EXISTS purse (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    amount REAL NOT NULL,
    spent REAL NOT NULL,
    currency TEXT NOT NULL,
    strict INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS holds (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    most REAL NOT NULL,
    likely REAL NOT NULL,
    at REAL NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    born REAL NOT NULL
);
