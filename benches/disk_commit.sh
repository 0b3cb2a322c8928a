#!/bin/sh
# Runs the disk_commit bench on ext4 and xfs, each on a loop device over a file (direct I/O underneath), and cleans up.
# Needs root. usage: benches/disk_commit.sh [FOLDER FOR THE IMAGES, with 3 GiB free]
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "this mounts file systems: run it as root" >&2; exit 1; }
if ! command -v mkfs.xfs >/dev/null; then
    echo "mkfs.xfs is missing: installing the package xfsprogs"
    apt-get update -qq && apt-get install -y -qq xfsprogs
fi
work=$(mktemp -d "${1:-target}/disk_commit.XXXXXX")
work=$(realpath "$work")
clean() {
    for fs in ext4 xfs; do
        umount "$work/$fs" 2>/dev/null || true
        [ ! -s "$work/$fs.loop" ] || losetup -d "$(cat "$work/$fs.loop")" || true
    done
    rm -rf "$work"
}
trap clean EXIT INT TERM
for fs in ext4 xfs; do
    truncate -s 1200M "$work/$fs.img"
    # Written, not sparse: the file system below must not allocate while we measure.
    dd if=/dev/zero of="$work/$fs.img" bs=1M count=1200 conv=notrunc,fsync status=none
    losetup --find --show --direct-io=on "$work/$fs.img" >"$work/$fs.loop"
    mkfs.$fs -q "$(cat "$work/$fs.loop")"
    mkdir "$work/$fs"
    mount "$(cat "$work/$fs.loop")" "$work/$fs"
done
cargo bench --bench disk_commit -- "$work/ext4" "$work/xfs"
