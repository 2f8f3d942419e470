# steps.sh - what ./quickstart and ./check have in common.  Sourced by bash
# from the top of the tree; needs nothing but what a bare Debian has.

BUILD_PACKAGES="gcc libc6-dev make pkgconf autoconf automake libtool libltdl-dev libev-dev libgnutls28-dev
	libjson-c-dev libunbound-dev libevent-dev libidn2-dev libcdb-dev libcap-dev libsystemd-dev libcrypt-dev libgsasl-dev uthash-dev python3"

# say TEXT: the headline of a step
say() { printf '\n==> %s\n' "$*"; }

# note TEXT: a line below it
note() { printf '    %s\n' "$*"; }

# die TEXT: the reason, and out
die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# missing_packages PACKAGE...: those that are not installed
missing_packages()
{
	local package
	for package; do
		[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
	done
}

# as_root COMMAND...: fails when we are not root and cannot become it without a password
as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		command -v sudo >/dev/null && sudo -n "$@"
	fi
}

# need_packages PACKAGE...: install what is missing; say what is, when that is not ours to do
need_packages()
{
	local missing
	if ! command -v dpkg-query >/dev/null; then
		note "not a Debian system: configure will say if a library is missing"
		return
	fi
	missing=$(missing_packages "$@" | tr '\n' ' ')
	if [ -z "$missing" ]; then
		note "all there"
		return
	fi
	note "missing: $missing"
	as_root true || die "install these first, as root: apt-get install $missing"
	# The lists may be absent or too old to name a version that still exists.
	apt_install $missing || { as_root apt-get -qq update && apt_install $missing; } ||
		die "apt-get could not install: $missing"
}

apt_install()
{
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
		-o Dpkg::Use-Pty=0 install "$@" >>"$STEPS_LOG" 2>&1
}

# make_configure: ./configure from configure.ac, when absent or older than what it is made from
make_configure()
{
	[ -f configure.ac ] || die "configure.ac is not here: run it from the top of the tree"
	if [ -x configure ] && [ -f Makefile.in ] &&
		[ -z "$(find configure.ac m4/ga_*.m4 Makefile.am -newer Makefile.in 2>/dev/null)" ]; then
		return
	fi
	note "./bootstrap"
	quietly ./bootstrap
}

# configured FOLDER SWITCH...: FOLDER holds a build tree configured with just these switches
configured()
{
	local folder=$1 source=$PWD
	shift
	mkdir -p "$folder"
	if [ -f "$folder/config.status" ] && [ -f "$folder/Makefile" ] && [ ! configure -nt "$folder/config.status" ] &&
		[ "$(cat "$folder/.switches" 2>/dev/null)" = "$*" ]; then
		note "$folder is configured: $*"
		return
	fi
	note "configure $*"
	(cd "$folder" && quietly "$source/configure" "$@")
	echo "$*" >"$folder/.switches"
}

# quietly COMMAND...: its output goes to the log; when it fails, the end of that is shown
quietly()
{
	"$@" >>"$STEPS_LOG" 2>&1 && return
	tail -n 40 "$STEPS_LOG" >&2
	die "failed: $* (all of it: $STEPS_LOG)"
}

processors() { nproc 2>/dev/null || echo 1; }
