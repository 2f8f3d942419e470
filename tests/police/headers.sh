#!/bin/sh
# headers.sh - each public header compiles alone: as C11 and as C++17, with
# every compiler found here, without a warning.  A module author's first
# #include must never be our problem made theirs.
set -u
api=$top_srcdir/plugins-api
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
failed=0 tried=0

# alone COMPILER LANGUAGE STANDARD EXTENSION HEADER
alone()
{
	command -v "$1" >/dev/null || return 0
	tried=$((tried + 1))
	printf '#include <%s>\n#include <%s>\n' "$5" "$5" >"$tmp/alone.$4"
	if ! "$1" -x "$2" "-std=$3" -Wall -Wextra -Wpedantic -Werror -I"$api" -fsyntax-only "$tmp/alone.$4" 2>"$tmp/errors"; then
		echo "not alone: <$5> as $3 with $1"
		cat "$tmp/errors"
		failed=$((failed + 1))
	fi
}

headers=$(cd "$api" && find greenarrow -name '*.h' | LC_ALL=C sort)
for header in $headers; do
	case " $GA_HEADERS " in
	*" plugins-api/$header "*) ;;
	*)
		echo "not installed: <$header> is missing in plugins-api/plugins-api.am"
		failed=$((failed + 1))
		;;
	esac
	alone gcc c c11 c "$header"
	alone clang c c11 c "$header"
	alone g++ c++ c++17 cc "$header"
	alone clang++ c++ c++17 cc "$header"
done
echo "$tried compilations of $(echo "$headers" | grep -c .) headers, $failed failed"
test -n "$headers" || exit 77
test "$tried" -gt 0 && test "$failed" -eq 0
