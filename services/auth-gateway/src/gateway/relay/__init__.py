"""The forward lane: a small HTTP/1.1 relay on uvloop and httptools, inside a gunicorn worker.

    worker.py     the process: sockets, signals, the graceful end
    lane.py       what the connections of one worker share, and its clock
    clients.py    a client's connection: one request after the other, deadlines
    reading.py    what a client sends, read strictly
    known.py      heads met before
    exchange.py   one request on its way: admission, quota, upstream, answer
    accounts.py   the hours of principals, taken from Redis in lots
    upstreams.py  the services behind, and the pooled connections to them
    answers.py    the usual answer of a service, read by one expression
    writing.py    heads as bytes
    local.py      the app lane: the gateway's own Flask resources, in threads
    notes.py      log lines and metrics

Who may come in and where it goes is admission's business alone; this package moves bytes.
"""
