#!/bin/sh
# Builds bin/ulvs-VERSION.img, a disk that boots into Debian with ulvs, by BIOS and by UEFI: build.sh VERSION.
# PACKAGES are Debian packages that it has besides ("openssh-server firmware-bnx2x"). Needs root to own the files; no
# loop device, no mount of the image, no KVM. What mmdebstrap makes stays in the cache for a week.
set -eu
cd "$(dirname "$0")/../.."
. test/root.sh
find_go
version=$1
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
[ $# -gt 1 ] || set -- "$version" "$(packaging/deb.sh "$version")" "${PACKAGES:-}" "$epoch"
become_root "$PWD/packaging/image/build.sh" "$@"
deb=$2 extra=$3
export SOURCE_DATE_EPOCH="$4" E2FSPROGS_FAKE_TIME="$4"
need mmdebstrap=mmdebstrap mkfs.vfat=dosfstools mcopy=mtools sfdisk=fdisk syslinux=syslinux mkfs.ext4=e2fsprogs
suite=${ULVS_SUITE:-bookworm}
packages="systemd systemd-sysv systemd-timesyncd udev dbus kmod iproute2 iputils-ping ethtool procps passwd less nano
	linux-image-amd64 initramfs-tools zstd systemd-boot-efi syslinux-common dosfstools ca-certificates
	init-system-helpers $extra"
files=packaging/image/files
began=$(date +%s)
work=$(mktemp -d /var/tmp/ulvs-image-XXXXXX)
trap 'rm -rf "$work"' EXIT
root=$work/root

# step WORDS... prints what is done now, and when.
step() {
	printf '%4d s  %s\n' $(($(date +%s) - began)) "$*" >&2
}

# uuid NAME prints one that is this version's, always the same.
uuid() {
	echo "$1 $version" | sha256sum | sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/\1-\2-\3-\4-\5/'
}

# debian makes $root, from the cache or anew.
debian() {
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/ulvs
	tar=$cache/image-$suite-$(echo "$packages" | sha256sum | cut -c1-12).tar
	mkdir -p "$cache" "$root"
	if [ -z "$(find "$tar" -mtime -7 2>/dev/null)" ]; then
		step "a Debian $suite, once a week: $tar"
		mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
			sed -n 's/^URIs: *//p; s/^deb  *\(http[^ ]*\).*/\1/p' | head -1)
		case $mirror in *deb.debian.org*) mirror="" ;; esac # mmdebstrap's own, with security
		# shellcheck disable=SC2086
		mmdebstrap --quiet --format=tar --variant=minbase --components=main,non-free-firmware \
			--include="$(echo $packages | tr ' ' ,)" \
			--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
			--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
			--dpkgopt='path-include=/usr/share/doc/ulvs/*' \
			"$suite" "$tar.new" ${mirror:+"$mirror"}
		mv "$tar.new" "$tar"
	fi
	step "unpack it"
	tar xf "$tar" -C "$root"
}

# install puts ulvs and the image's own files into $root.
install_ulvs() {
	cp "$deb" "$root/ulvs.deb"
	chroot "$root" dpkg -i /ulvs.deb >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log" >&2; exit 1; }
	rm "$root/ulvs.deb"
	cp -r --no-preserve=ownership $files/. "$root"
	cat >"$root/etc/fstab" <<END
PARTUUID=$root_uuid / ext4 errors=remount-ro,x-systemd.growfs 0 1
PARTUUID=$boot_uuid /boot/efi vfat umask=0077 0 2
END
	cat >"$root/etc/apt/sources.list" <<END
deb http://deb.debian.org/debian $suite main non-free-firmware
deb http://deb.debian.org/debian $suite-updates main non-free-firmware
deb http://security.debian.org/debian-security $suite-security main non-free-firmware
END
	echo "ulvs $version \\n \\l" >"$root/etc/issue"
	echo ulvs >"$root/etc/hostname"
	printf '127.0.0.1 localhost\n127.0.1.1 ulvs\n::1 localhost ip6-localhost\n' >"$root/etc/hosts"
	: >"$root/etc/machine-id" # every machine makes its own
	rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/resolv.conf"
	mkdir -p "$root/boot/efi"
	chroot "$root" usermod -p '*' root
	chroot "$root" systemctl --quiet enable systemd-networkd ulvs-firstboot ulvs-fetch
	chroot "$root" systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer
	[ -e "$root/usr/sbin/sshd" ] || rm -r "$root/etc/systemd/system/ssh.service.d"
}

# boot makes the FAT partition, from which both loaders read the kernel.
boot() {
	line="root=PARTUUID=$root_uuid ro console=ttyS0,115200 console=tty0 quiet"
	mkdir -p "$work/esp/EFI/BOOT" "$work/esp/loader/entries"
	cp "$root/usr/lib/systemd/boot/efi/systemd-bootx64.efi" "$work/esp/EFI/BOOT/BOOTX64.EFI"
	printf 'timeout 2\ndefault ulvs.conf\n' >"$work/esp/loader/loader.conf"
	printf 'title ulvs\nlinux /vmlinuz\ninitrd /initrd.img\noptions %s\n' "$line" >"$work/esp/loader/entries/ulvs.conf"
	printf 'SERIAL 0 115200\nPROMPT 1\nTIMEOUT 20\nDEFAULT ulvs\nLABEL ulvs\n  LINUX /vmlinuz\n  INITRD /initrd.img\n' \
		>"$work/esp/syslinux.cfg"
	printf '  APPEND %s\n' "$line" >>"$work/esp/syslinux.cfg"
	cp packaging/image/ulvs.conf "$work/esp/"
	"$root/etc/kernel/postinst.d/zz-ulvs-boot" "$root/boot" "$work/esp"
	find "$work/esp" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	truncate -s ${esp_mib}M "$work/esp.img"
	mkfs.vfat -F 32 -n ULVS -h 2048 --invariant "$work/esp.img" >/dev/null
	mcopy -i "$work/esp.img" -s -m "$work"/esp/* ::
	syslinux --install "$work/esp.img"
}

# disk puts the partitions together.
disk() {
	root_mib=$(($(du -sm "$root" | cut -f1) * 13 / 10 + 200))
	truncate -s ${root_mib}M "$work/root.img"
	mkfs.ext4 -q -L ulvs -U "$(uuid files)" -E "hash_seed=$(uuid hash)" -d "$root" "$work/root.img"
	truncate -s $((esp_mib + root_mib + 2))M "$work/disk.img"
	sfdisk --quiet "$work/disk.img" <<END
label: gpt
label-id: $(uuid disk)
start=1MiB, size=${esp_mib}MiB, type=$esp_type, uuid=$boot_uuid, name=boot, attrs=LegacyBIOSBootable
size=${root_mib}MiB, type=$root_type, uuid=$root_uuid, name=ulvs
END
	dd if="$root/usr/lib/syslinux/mbr/gptmbr.bin" of="$work/disk.img" bs=440 count=1 conv=notrunc status=none
	dd if="$work/esp.img" of="$work/disk.img" bs=1M seek=1 conv=notrunc,sparse status=none
	dd if="$work/root.img" of="$work/disk.img" bs=1M seek=$((esp_mib + 1)) conv=notrunc,sparse status=none
}

esp_mib=200 # two kernels and initrds, while one replaces the other
esp_type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B root_type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709 # amd64's
root_uuid=$(uuid root) boot_uuid=$(uuid boot)
debian
step "install $deb"
install_ulvs
step "the boot partition"
boot
step "the disk"
disk
img=bin/ulvs-$version.img
cp --sparse=always "$work/disk.img" "$img"
made=$img
if command -v qemu-img >/dev/null; then
	step "the same as qcow2"
	qemu-img convert -c -O qcow2 -o compression_type=zstd "$img" "bin/ulvs-$version.qcow2"
	made="$made bin/ulvs-$version.qcow2"
fi
# shellcheck disable=SC2086
chown --reference=Makefile $made
step done
# shellcheck disable=SC2086
du -h --apparent-size $made
