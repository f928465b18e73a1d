#!/bin/sh
# What the backup-restore pod runs: waits for kubectl exec, ends in order on SIGTERM.
exec /usr/local/bin/init --wait
