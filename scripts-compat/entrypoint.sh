#!/bin/sh
# What the CronJob runs.
exec /usr/local/bin/backup.sh "$@"
