# Sourced. podman with a store and settings of its own, all below BACKUP_RESTORE_PODMAN: removing that directory removes everything.
# These settings need neither systemd nor version 2 of cgroups.
export BACKUP_RESTORE_PODMAN=$(realpath -m "${BACKUP_RESTORE_PODMAN:-$(dirname "${BASH_SOURCE[0]}")/../.build-image}")
export CONTAINERS_CONF=$BACKUP_RESTORE_PODMAN/containers.conf CONTAINERS_STORAGE_CONF=$BACKUP_RESTORE_PODMAN/storage.conf
if [ ! -e "$CONTAINERS_STORAGE_CONF" ]; then
  mkdir -p "$BACKUP_RESTORE_PODMAN"/{tmp,networks}
  cat >"$CONTAINERS_CONF" <<END
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=1000:1000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
image_copy_tmp_dir = "$BACKUP_RESTORE_PODMAN/tmp"
tmp_dir = "$BACKUP_RESTORE_PODMAN/runroot/libpod"
volume_path = "$BACKUP_RESTORE_PODMAN/volumes"
[network]
network_backend = "netavark"
network_config_dir = "$BACKUP_RESTORE_PODMAN/networks"
END
  cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "overlay"
graphroot = "$BACKUP_RESTORE_PODMAN/storage"
runroot = "$BACKUP_RESTORE_PODMAN/runroot"
[storage.options.overlay]
skip_mount_home = "true"
END
fi
