#!/bin/sh
# Moves every repository from RESTIC_PASSWORD to RESTIC_NEW_PASSWORD.
exec /usr/local/bin/init --rotate-password "$@"
