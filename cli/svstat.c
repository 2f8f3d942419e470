/*
 * svstat.c - `svstat /service/NAME`: what supervised services do.
 *
 * Work-alike of daemontools' svstat, to the octet of its output: reads supervise/status,
 * 18 octets, of supervise(8) or of greenarrowd with module svc.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <greenarrow/tai64.h>

#include "supervised.h"

#define STATUS_SIZE 18

static const char usage[] =
    "Usage:\n"
    "  svstat SERVICE...\n"
    "\n"
    "Help Options:\n"
    "      --help       Show this help message\n"
    "      --version    print the version and exit\n";

struct status {
	uint64_t seconds;		/* since the last change */
	uint32_t pid;			/* 0: down */
	bool paused;
	char want;			/* 'u', 'd' or NUL */
};

static void
decode(struct status *s, const unsigned char octets[STATUS_SIZE])
{
	uint64_t since = 0, now = (uint64_t)time(NULL) + GA_TAI64_EPOCH;

	for (unsigned i = 0; i < 8; i++)
		since = since << 8 | octets[i];
	s->seconds = now > since ? now - since : 0;
	s->pid = 0;
	for (unsigned i = 4; i-- > 0;)
		s->pid = s->pid << 8 | octets[12 + i];
	s->paused = octets[16] != 0;
	s->want = (char)octets[17];
}

static void
print(const struct status *s, bool normally_up)
{
	if (s->pid != 0)
		printf("up (pid %lu) ", (unsigned long)s->pid);
	else
		printf("down ");
	printf("%llu seconds", (unsigned long long)s->seconds);
	if ((s->pid != 0) != normally_up)
		printf(", normally %s", normally_up ? "up" : "down");
	if (s->pid != 0 && s->paused)
		printf(", paused");
	if (s->pid == 0 && s->want == 'u')
		printf(", want up");
	if (s->pid != 0 && s->want == 'd')
		printf(", want down");
	printf("\n");
}

static bool
supervised(void)
{
	int fd = open("supervise/ok", O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	else if (errno == ENXIO)
		printf("supervise not running\n");
	else
		printf("unable to open supervise/ok: %s\n", cli_djb_error(errno));
	return fd >= 0;
}

static bool
read_status(unsigned char octets[STATUS_SIZE])
{
	int fd = open("supervise/status", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t n;

	if (fd < 0) {
		printf("unable to open supervise/status: %s\n", cli_djb_error(errno));
		return false;
	}
	n = read(fd, octets, STATUS_SIZE);
	if (n != STATUS_SIZE)
		printf("unable to read supervise/status: %s\n", n < 0 ? cli_djb_error(errno) : "bad format");
	close(fd);
	return n == STATUS_SIZE;
}

static void
look(const char *dir)
{
	unsigned char octets[STATUS_SIZE];
	struct status status;
	bool normally_up = access("down", F_OK) != 0;

	printf("%s: ", dir);
	if (normally_up && errno != ENOENT) {
		printf("unable to stat down: %s\n", cli_djb_error(errno));
		return;
	}
	if (supervised() && read_status(octets)) {
		decode(&status, octets);
		print(&status, normally_up);
	}
}

static void
not_entered(const char *dir, int e)
{
	printf("%s: unable to chdir: %s\n", dir, cli_djb_error(e));
}

int
main(int argc, char **argv)
{
	int first = cli_supervised_options(argc, argv, NULL, usage, NULL);

	cli_each_directory("svstat", argv + first, look, not_entered);
	return fflush(stdout) == 0 ? 0 : 111;
}
