#!/bin/sh
# manuals.sh - the manual pages are good mdoc, and name every option of their program
set -u
failed=0
for page in greenarrowd.8 greenarrow.conf.5 greenarrow_config.8 greenarrow.8; do
	test -f "$top_srcdir/docs/$page" || { echo "$page is missing"; failed=1; }
done

# options PROGRAM PAGE: each --option of --help is in the page
options()
{
	for o in $("$top_builddir/$1" --help | grep -oE -- '--[a-z][a-z-]+' | sort -u); do
		grep -qE "(Fl )?Fl -${o#--}( |\$)" "$top_srcdir/docs/$2" || { echo "$2 does not tell of $o"; failed=1; }
	done
}
options greenarrowd greenarrowd.8
options greenarrow_config greenarrow_config.8
options greenarrow greenarrow.8

if command -v mandoc >/dev/null; then
	(cd "$top_srcdir/docs" && mandoc -T lint -W warning ./*.[58]) || failed=1
else
	echo "mandoc is not here: mdoc was not checked"
fi
exit $failed
