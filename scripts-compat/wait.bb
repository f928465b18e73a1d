#!/bin/sh
# The same as /entrypoint-start-and-wait.sh.
exec /usr/local/bin/init --wait
