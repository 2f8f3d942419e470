# ga_layout.m4 - where things live once installed.
#
# --sysconfdir left alone: everything below the prefix, as an operator of
# /var/hvmail knows it (bin sbin control log queue run service lib).  --sysconfdir
# given: the folders of the Filesystem Hierarchy Standard.

# GA_LAYOUT: sets and substitutes controldir confddir logdir queuedir rundir servicedir profiledir moduledir
AC_DEFUN([GA_LAYOUT], [
AS_IF([test "x$sysconfdir" = 'x${prefix}/etc'], [
	ga_layout=house
	sysconfdir='${prefix}/control'
	controldir='${sysconfdir}'
	logdir='${prefix}/log'
	queuedir='${prefix}/queue'
	rundir='${prefix}/run'
	servicedir='${prefix}/service'
	profiledir='${prefix}/etc'
], [
	ga_layout=FHS
	controldir='${sysconfdir}/greenarrow'
	logdir='${localstatedir}/log/greenarrow'
	queuedir='${localstatedir}/spool/greenarrow'
	rundir='${runstatedir}/greenarrow'
	servicedir='${localstatedir}/lib/greenarrow/service'
	profiledir='${datadir}/greenarrow'
	# /var/run is a symbolic link to /run; name the real place.
	AS_IF([test "x$localstatedir$runstatedir" = 'x/var${localstatedir}/run'],
		[runstatedir=/run])
])
AC_SUBST([controldir])
AC_SUBST([logdir])
AC_SUBST([queuedir])
AC_SUBST([rundir])
AC_SUBST([servicedir])
AC_SUBST([profiledir])
AC_SUBST([confddir], ['${controldir}/conf.d'])
AC_SUBST([moduledir], ['${libdir}/greenarrow/modules'])
PKG_INSTALLDIR
])

# GA_EXPAND(VARIABLE): the value of a folder variable with every ${…} in it resolved
AC_DEFUN([GA_EXPAND], [$(
	test "x$prefix" = xNONE && prefix=$ac_default_prefix
	test "x$exec_prefix" = xNONE && exec_prefix=$prefix
	ga_value=$[$1]
	while :; do
		eval "ga_next=\"$ga_value\""
		test "x$ga_next" = "x$ga_value" && break
		ga_value=$ga_next
	done
	printf '%s\n' "$ga_value"
)])

# GA_SUMMARY: what configure settled on, for the person who ran it
AC_DEFUN([GA_SUMMARY], [
AC_MSG_NOTICE([

  greenarrow AC_PACKAGE_VERSION ($ga_layout layout)

    prefix          GA_EXPAND([prefix])
    programs        GA_EXPAND([bindir]), GA_EXPAND([sbindir])
    control         GA_EXPAND([controldir])
    log             GA_EXPAND([logdir])
    queue           GA_EXPAND([queuedir])
    run             GA_EXPAND([rundir])
    services        GA_EXPAND([servicedir])
    modules         GA_EXPAND([moduledir])
    systemd units   $with_systemdsystemunitdir

    compiler        $CC $CFLAGS
    hardening       $HARDEN_CPPFLAGS $HARDEN_CFLAGS $HARDEN_LDFLAGS
    warnings fatal  $enable_werror
    sanitizers      $with_sanitizer
    fuzzer          $with_fuzzer
    coverage        $enable_coverage
    static modules  $enable_static_modules
    sd_notify       $ga_have_systemd
    SCRAM-SHA-256   $ga_have_gsasl (GNU SASL)
    unit tests      $ga_have_cmocka (cmocka)
])])
