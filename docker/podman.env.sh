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

# Makes an image of a Debian suite from this machine's own mirror and settings of apt: image, suite, settings of the image (ENV …),
# options of mmdebstrap (--…), packages.
debian_image() {
  local image=$1 suite=$2 base=$BACKUP_RESTORE_PODMAN/$2 settings=() options=()
  shift 2
  while [[ ${1-} == [A-Z]* ]]; do settings+=(--change "$1"); shift; done
  while [[ ${1-} == --* ]]; do options+=("$1"); shift; done
  apt-config dump | grep -E '^Acquire::(Check-|https?::Proxy)' >"$base.apt" || true
  printf '%s\n' path-exclude=/usr/share/{doc,info,lintian,locale,man}/'*' 'path-include=/usr/share/doc/*/copyright' >"$base.dpkg"
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Origin: Debian' 'Created-By: Packages' |
    { grep bookworm || { echo "${0##*/}: no apt source for Debian 12 found" >&2; exit 1; }; } | sed "s/bookworm/$suite/" |
    mmdebstrap --quiet --variant=minbase --include="ca-certificates $*" --aptopt="$base.apt" --dpkgopt="$base.dpkg" \
      --skip=output/dev --customize-hook='rm -f "$1"/etc/hostname "$1"/etc/resolv.conf' "${options[@]}" "$suite" "$base.tar" -
  podman import -q "${settings[@]}" "$base.tar" "$image" >/dev/null
  rm "$base".*
}
