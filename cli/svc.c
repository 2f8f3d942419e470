/*
 * svc.c - `svc -tu /service/hvmail-qmail-smtpd2`: commands to supervised services.
 *
 * Work-alike of daemontools' svc: each option is an octet that is written into
 * supervise/control of each directory.  Who reads it decides what it means: supervise(8),
 * or greenarrowd with module svc.  As there the exit code is 0 also when a service could not be
 * told; a warning says so.  Other than there a reader that hangs does not make us wait.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "supervised.h"

#define OPTIONS "udopchaitkx"

static const char usage[] =
    "Usage:\n"
    "  svc [-" OPTIONS "] SERVICE...\n"
    "\n"
    "  -t  terminate: restart, when it is up    -u  up\n"
    "  -d  down                                 -o  once\n"
    "  -h  hangup                               -p  pause\n"
    "  -c  continue                             -a  alarm\n"
    "  -i  interrupt                            -k  kill\n"
    "  -x  exit, when it is down\n"
    "\n"
    "Help Options:\n"
    "      --help       Show this help message\n"
    "      --version    print the version and exit\n";

static char octets[sizeof OPTIONS];	/* each once, in the order given */
static size_t count;

static void
take(char option)
{
	if (memchr(octets, option, count) == NULL)
		octets[count++] = option;
}

static void
warn(const char *what, const char *dir, const char *why)
{
	fprintf(stderr, "svc: warning: %s %s: %s\n", what, dir, why);
}

static void
tell(const char *dir)
{
	int fd = open("supervise/control", O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		warn("unable to control", dir, errno == ENXIO ? "supervise not running" : cli_djb_error(errno));
		return;
	}
	if (count > 0 && write(fd, octets, count) != (ssize_t)count)
		warn("error writing commands to", dir, cli_djb_error(errno));
	close(fd);
}

static void
not_entered(const char *dir, int e)
{
	warn("unable to chdir to", dir, cli_djb_error(e));
}

int
main(int argc, char **argv)
{
	int first = cli_supervised_options(argc, argv, OPTIONS, usage, take);

	signal(SIGPIPE, SIG_IGN);
	cli_each_directory("svc", argv + first, tell, not_entered);
	return 0;
}
