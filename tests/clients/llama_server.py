"""llama.cpp's own HTTP server with a small model: llama_server.py PORT MODEL-FILE TEMPLATE-FILE.

Runs in the environment where xllamacpp is installed.
"""

import os
import signal
import sys
import threading
from pathlib import Path

import xllamacpp

port, model, template = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path = model
params.hostnames = ["127.0.0.1"]
params.port = int(port)
params.n_ctx = 4096
params.n_parallel = 1
params.n_predict = 64  # a base model does not stop by itself
params.use_jinja = True
params.chat_template = Path(template).read_text()
params.cpuparams.n_threads = 2

ended = threading.Event()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: ended.set())
server = xllamacpp.Server(params)
while not ended.wait(1):
    pass
os._exit(0)  # the server's threads know no end
