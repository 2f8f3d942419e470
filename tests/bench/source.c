/*
 * source.c - ga_smtp_source: sends mail as fast as the other side takes it.
 *
 * A load generator for benchmarks, tests and rehearsals.  This file is main():
 * options, the target, source addresses, the end of a run.  A run ends when all
 * its messages have an outcome, when its time is over and what was begun is
 * answered, or when nothing has moved for --timeout.  SIGINT and SIGTERM end it
 * like its time being over.
 *
 * Exit codes: 0 every message was accepted, 1 some were not, 2 wrong usage.
 */
#include "source.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SOURCES_MAX 65536

static struct source the_source = {
	.opt = {
		.sessions = 20,
		.size = 4096,
		.recipients = 1,
		.domains = 1,
		.timeout_us = 60000000,
		.retry_us = 100000,
		.from = "bench@source.test",
		.pipelining = "yes",
		.helo = "source.test",
	},
	.acked_fd = -1,
	.unknown_fd = -1,
};

#define O the_source.opt
static const struct opt options[] = {
	{ "sessions", OPT_NUMBER, &O.sessions, "connections at once (20)", 1, 60000 },
	{ "messages", OPT_NUMBER, &O.messages, "send this many messages (1000 unless --duration)", 1, 0 },
	{ "duration", OPT_TIME, &O.duration_us, "send for this long (30s, 5m)", 1, 0 },
	{ "per-connection", OPT_NUMBER, &O.per_connection, "messages a connection; 0 keeps it open (0)", 0, 0 },
	{ "size", OPT_SIZE, &O.size, "size of a message with its header (4096)", 1, 1073741824 },
	{ "message-file", OPT_TEXT, &O.message_file, "send this file, behind an X-Bench-Id line", 0, 0 },
	{ "recipients", OPT_NUMBER, &O.recipients, "recipients a message (1)", 1, 100000 },
	{ "to", OPT_TEXT, &O.to, "recipient: %n message, %r recipient, %d domain (u%n.%r@d%d.test)", 0, 0 },
	{ "domains", OPT_NUMBER, &O.domains, "%d counts from 0 to one less than this (1)", 1, 0 },
	{ "domain-list", OPT_TEXT, &O.domain_list, "%d is taken from a,b,c in turn (then --to is u%n.%r@%d)", 0, 0 },
	{ "from", OPT_TEXT, &O.from, "sender, %n as above (bench@source.test)", 0, 0 },
	{ "helo", OPT_TEXT, &O.helo, "name said in EHLO (source.test)", 0, 0 },
	{ "pipelining", OPT_TEXT, &O.pipelining, "no, yes, or chain: next MAIL in one group with the end (yes)", 0, 0 },
	{ "starttls", OPT_FLAG, &O.starttls, "use STARTTLS; certificates are not checked", 0, 0 },
	{ "source", OPT_TEXT, &O.source, "connect from ADDRESS or FIRST-LAST, in turn", 0, 0 },
	{ "timeout", OPT_TIME, &O.timeout_us, "give up when no message moved on for this long (60s)", 1, 0 },
	{ "retry", OPT_TIME, &O.retry_us, "wait before connecting again after a failure (100ms)", 1000, 0 },
	{ "run-id", OPT_TEXT, &O.run_id, "first part of X-Bench-Id (from the clock)", 0, 0 },
	{ "acked-log", OPT_TEXT, &O.acked_log, "append the id of each message that got its 250", 0, 0 },
	{ "unknown-log", OPT_TEXT, &O.unknown_log, "append the id of each message whose reply was lost", 0, 0 },
	{ "json", OPT_FLAG, &O.json, "print the figures as a json document", 0, 0 },
};
#undef O

static const struct opt_program program = {
	"ga_smtp_source", "HOST:PORT",
	"This tool sends mail over SMTP as fast as the server takes it, and measures.\n"
	"Each message carries its own X-Bench-Id header, so that loss can be counted.",
	options, sizeof options / sizeof options[0],
};

/* Where the bytes of an address are that --source counts up. */
static unsigned char *
addr_bytes(struct sockaddr_storage *ss, size_t *len)
{
	if (ss->ss_family == AF_INET6) {
		*len = 16;
		return ((struct sockaddr_in6 *)ss)->sin6_addr.s6_addr;
	}
	*len = 4;
	return (unsigned char *)&((struct sockaddr_in *)ss)->sin_addr;
}

static void
parse_addr(const char *text, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof *ss);
	if (inet_pton(AF_INET, text, &((struct sockaddr_in *)ss)->sin_addr) == 1)
		ss->ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)ss)->sin6_addr) == 1)
		ss->ss_family = AF_INET6;
	else
		opt_wrong(&program, "--source: '%s' is not an address", text);
}

static void
next_addr(struct sockaddr_storage *ss)
{
	size_t len;
	unsigned char *b = addr_bytes(ss, &len);

	while (len-- && ++b[len] == 0)
		;
}

static void
parse_source(struct source *s)
{
	char text[128], *dash;
	struct sockaddr_storage at, last;
	struct src_addrs *a = &s->from;

	if (!s->opt.source)
		return;
	snprintf(text, sizeof text, "%s", s->opt.source);
	dash = strchr(text, '-');
	if (dash)
		*dash = '\0';
	parse_addr(text, &at);
	parse_addr(dash ? dash + 1 : text, &last);
	if (at.ss_family != s->target.ss_family || last.ss_family != at.ss_family)
		opt_wrong(&program, "--source is of another address family than the target");
	a->len = at.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	for (;; next_addr(&at)) {
		if (a->count == SOURCES_MAX)
			opt_wrong(&program, "--source: more than %d addresses", SOURCES_MAX);
		a->item = realloc(a->item, (a->count + 1) * sizeof *a->item);
		if (!a->item)
			abort();
		a->item[a->count++] = at;
		if (!memcmp(&at, &last, sizeof at))
			break;
	}
}

static void
parse_domains(struct source *s)
{
	char *list, *name, *save;

	s->domains = s->opt.domains;
	if (!s->opt.to)
		s->opt.to = s->opt.domain_list ? "u%n.%r@%d" : "u%n.%r@d%d.test";
	if (!s->opt.domain_list)
		return;
	list = strdup(s->opt.domain_list);
	s->domain = calloc(strlen(list) / 2 + 1, sizeof *s->domain);
	if (!s->domain)
		abort();
	s->domains = 0;
	for (name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save))
		s->domain[s->domains++] = name;
	if (!s->domains)
		opt_wrong(&program, "--domain-list is empty");
}

static void
parse_pipelining(struct source *s)
{
	static const char *const names[] = { "no", "yes", "chain" };

	for (enum src_pipelining p = PIPE_NO; p <= PIPE_CHAIN; p++) {
		if (!strcmp(s->opt.pipelining, names[p])) {
			s->pipelining = p;
			return;
		}
	}
	opt_wrong(&program, "--pipelining: '%s' is not no, yes or chain", s->opt.pipelining);
}

static int
open_log(const char *path)
{
	int fd;

	if (!path)
		return -1;
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0) {
		fprintf(stderr, "ga_smtp_source: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	return fd;
}

static void
settle_options(struct source *s, int argc, char **argv)
{
	static char run_id[32];
	int operand = opt_parse(&program, argc, argv);
	const char *why;

	if (operand != argc - 1)
		opt_wrong(&program, "one HOST:PORT is needed");
	why = wire_resolve(argv[operand], false, &s->target, &s->target_len);
	if (why)
		opt_wrong(&program, "%s: %s", argv[operand], why);
	if (!s->opt.messages && !s->opt.duration_us)
		s->opt.messages = 1000;
	if (!s->opt.run_id) {
		snprintf(run_id, sizeof run_id, "%llx", (unsigned long long)wire_now_us());
		s->opt.run_id = run_id;
	}
	if (strlen(s->opt.run_id) > 32)
		opt_wrong(&program, "--run-id is longer than 32 characters");
	parse_pipelining(s);
	parse_source(s);
	parse_domains(s);
}

static void
on_duration_over(EV_P_ ev_timer *t, int revents)
{
	(void)EV_A;
	(void)t;
	(void)revents;
	the_source.stop = true;
}

static void
on_signal(EV_P_ ev_signal *sig, int revents)
{
	(void)EV_A;
	(void)sig;
	(void)revents;
	the_source.stop = true;
}

/* Every second: has anything moved? */
static void
on_watch(EV_P_ ev_timer *t, int revents)
{
	struct source *s = &the_source;

	(void)t;
	(void)revents;
	if (wire_now_us() - s->progress_us < s->opt.timeout_us)
		return;
	src_problem(s, 0, "timeout", "no message moved on for the time of --timeout");
	ev_break(EV_A_ EVBREAK_ALL);
}

static void
watch(struct source *s)
{
	static ev_timer duration, progress;
	static ev_signal term, interrupt;

	ev_timer_init(&progress, on_watch, 1., 1.);
	ev_timer_start(EV_DEFAULT_UC_ &progress);
	if (s->opt.duration_us) {
		ev_timer_init(&duration, on_duration_over, (double)s->opt.duration_us / 1e6, 0.);
		ev_timer_start(EV_DEFAULT_UC_ &duration);
	}
	ev_signal_init(&term, on_signal, SIGTERM);
	ev_signal_init(&interrupt, on_signal, SIGINT);
	ev_signal_start(EV_DEFAULT_UC_ &term);
	ev_signal_start(EV_DEFAULT_UC_ &interrupt);
}

static void
allow_many_descriptors(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

static void
run(struct source *s)
{
	struct src_session *session = calloc(s->opt.sessions, sizeof *session);

	if (!session)
		abort();
	s->live = s->opt.sessions;
	s->start_us = s->progress_us = wire_now_us();
	for (size_t i = 0; i < s->opt.sessions; i++)
		src_session_start(s, &session[i], i);
	ev_run(EV_DEFAULT_UC_ 0);
	for (size_t i = 0; i < s->opt.sessions; i++)
		src_session_free(&session[i]);
	free(session);
}

int
main(int argc, char **argv)
{
	struct source *s = &the_source;

	settle_options(s, argc, argv);
	if (!ev_default_loop(0))
		abort();
	if (gnutls_certificate_allocate_credentials(&s->cred) < 0)
		abort();
	allow_many_descriptors();
	s->acked_fd = open_log(s->opt.acked_log);
	s->unknown_fd = open_log(s->opt.unknown_log);
	src_content_make(s);
	watch(s);
	run(s);
	src_report(s, stdout);
	return s->accepted && s->accepted == s->next_seq ? 0 : 1;
}
