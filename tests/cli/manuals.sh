#!/bin/sh
# manuals.sh - the manual pages are good mdoc, and name every option of their program
set -u
failed=0
for page in greenarrowd.8 greenarrow.conf.5 greenarrow_config.8 greenarrow.8 hvmail_report.1 logdir_select_time.1 tai64nlocal.1 svc.8 svstat.8; do
	test -f "$top_srcdir/docs/$page" || { echo "$page is missing"; failed=1; }
done

# options PROGRAM PAGE [COMMAND]: each --option of --help is in the page
options()
{
	for o in $("$top_builddir/$1" ${3-} --help | grep -oE -- '--[a-z][a-z-]+' | sort -u); do
		grep -qE "(Fl )?Fl -${o#--}( |\$)" "$top_srcdir/docs/$2" || { echo "$2 does not tell of $o"; failed=1; }
	done
}
options greenarrowd greenarrowd.8
options greenarrow_config greenarrow_config.8
options greenarrow greenarrow.8
options hvmail_report hvmail_report.1
options logdir_select_time logdir_select_time.1
options tai64nlocal tai64nlocal.1
options svc svc.8
options svstat svstat.8
for command in $("$top_builddir/greenarrow" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z_]*\) .*/\1/p'); do
	test "$command" = queue_check || options greenarrow greenarrow.8 "$command"
	grep -q "^\.It Cm $command" "$top_srcdir/docs/greenarrow.8" || { echo "greenarrow.8 does not tell of $command"; failed=1; }
done

if command -v mandoc >/dev/null; then
	(cd "$top_srcdir/docs" && mandoc -T lint -W warning ./*.[158]) || failed=1
else
	echo "mandoc is not here: mdoc was not checked"
fi
exit $failed
