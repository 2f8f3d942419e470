/*
 * sink.c - ga_smtp_sink: accepts mail as fast as it can and counts it.
 *
 * The other end of a delivery in benchmarks, tests and rehearsals.  This file is
 * main(): options, listeners, signals.  SIGUSR1 prints the figures, SIGTERM and
 * SIGINT print them and end the program.  Prints "ready" on stderr when it
 * listens.  One process, one loop; a core takes some tens of thousands of 4 KB
 * messages a second.
 */
#include "sink.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define BACKLOG 4096
#define ACCEPTS_A_TURN 64

static struct sink the_sink = {
	.opt = {
		.hostname = "sink.test",
		.max_size = 104857600,
		.delay_at = "eom",
		.reply_at = "eom",
		.defer_reply = "451 4.7.1 Try again later",
		.fail_reply = "550 5.7.1 Refused",
	},
};

#define O the_sink.opt
static const struct opt options[] = {
	{ "listen", OPT_LIST, &O.listen, "ADDRESS:PORT to listen on; may be repeated (127.0.0.1:2525)", 0, 0 },
	{ "hostname", OPT_TEXT, &O.hostname, "name in the greeting (sink.test)", 0, 0 },
	{ "max-size", OPT_SIZE, &O.max_size, "largest message, announced as SIZE (100MiB)", 1, 0 },
	{ "max-connections", OPT_NUMBER, &O.max_connections, "answer 421 to more connections than this", 1, 0 },
	{ "tls-cert", OPT_TEXT, &O.tls_cert, "offer STARTTLS with this certificate (PEM)", 0, 0 },
	{ "tls-key", OPT_TEXT, &O.tls_key, "its private key (PEM; default: in the certificate's file)", 0, 0 },
	{ "no-pipelining", OPT_FLAG, &O.no_pipelining, "do not announce PIPELINING", 0, 0 },
	{ "delay", OPT_TIME, &O.delay_us, "wait this long before a reply (250ms, 2s)", 0, 0 },
	{ "delay-at", OPT_TEXT, &O.delay_at, "which reply waits: connect, ehlo, mail, rcpt, data, eom (eom)", 0, 0 },
	{ "defer-percent", OPT_NUMBER, &O.defer_percent, "defer this share of the replies", 0, 100 },
	{ "fail-percent", OPT_NUMBER, &O.fail_percent, "refuse this share of the replies", 0, 100 },
	{ "reply-at", OPT_TEXT, &O.reply_at, "which reply is deferred or refused: as for --delay-at (eom)", 0, 0 },
	{ "defer-reply", OPT_TEXT, &O.defer_reply, "the deferring reply; one that starts with 421 also closes", 0, 0 },
	{ "fail-reply", OPT_TEXT, &O.fail_reply, "the refusing reply", 0, 0 },
	{ "ids-log", OPT_TEXT, &O.ids_log, "append \"X-Bench-Id recipient\" of each message before its 250", 0, 0 },
	{ "dump", OPT_TEXT, &O.dump, "store each message as N.eml with its envelope as N.json in this folder", 0, 0 },
	{ "exit-after", OPT_NUMBER, &O.exit_after, "end after this many messages", 1, 0 },
	{ "json", OPT_FLAG, &O.json, "print the figures as a json document", 0, 0 },
};
#undef O

static const struct opt_program program = {
	"ga_smtp_sink", "",
	"This tool accepts mail over SMTP, throws it away (or stores it), and counts it.\n"
	"SIGUSR1 prints the figures; SIGTERM prints them and ends the program.",
	options, sizeof options / sizeof options[0],
};

static enum sink_stage
stage_named(const char *option, const char *name)
{
	static const char *const names[STAGES] = {
		[STAGE_CONNECT] = "connect", [STAGE_EHLO] = "ehlo", [STAGE_MAIL] = "mail",
		[STAGE_RCPT] = "rcpt", [STAGE_DATA] = "data", [STAGE_EOM] = "eom",
	};

	for (enum sink_stage s = 0; s < STAGES; s++)
		if (!strcmp(name, names[s]))
			return s;
	opt_wrong(&program, "--%s: no stage is called '%s'", option, name);
}

/* Returns the socket, or -1 when there is none to take now. */
static int
accept_one(struct sink_listener *l)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof peer;
	int fd = accept4(l->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct sink *k = &the_sink;
	static const char busy[] = "421 4.7.0 Too many connections\r\n";

	if (fd < 0)
		return -1;
	if (k->opt.max_connections && k->n.open >= k->opt.max_connections) {
		k->n.refused++;
		/* The socket is new and its buffer empty: this does not block. */
		if (send(fd, busy, sizeof busy - 1, MSG_NOSIGNAL) < 0)
			k->n.aborted++;
		close(fd);
		return fd;
	}
	l->connections++;
	k->n.connections++;
	if (++k->n.open > k->n.peak)
		k->n.peak = k->n.open;
	sink_session_start(k, l, fd, (struct sockaddr *)&peer);
	return fd;
}

static void
on_accept(EV_P_ ev_io *io, int revents)
{
	struct sink_listener *l = (struct sink_listener *)(void *)io;

	(void)EV_A;
	(void)revents;
	for (int i = 0; i < ACCEPTS_A_TURN; i++)
		if (accept_one(l) < 0)
			break;
}

static void
cannot_listen(const char *text, const char *why)
{
	fprintf(stderr, "ga_smtp_sink: listen on %s: %s\n", text, why);
	exit(1);
}

static void
listen_on(struct sink_listener *l, const char *text)
{
	struct sockaddr_storage addr;
	socklen_t len;
	const char *why = wire_resolve(text, true, &addr, &len);
	int on = 1;

	if (why)
		cannot_listen(text, why);
	l->fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		cannot_listen(text, strerror(errno));
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(l->fd, (struct sockaddr *)&addr, len) < 0 || listen(l->fd, BACKLOG) < 0)
		cannot_listen(text, strerror(errno));
	/* With port 0 the name tells which one it became. */
	len = sizeof addr;
	getsockname(l->fd, (struct sockaddr *)&addr, &len);
	wire_addr_text((struct sockaddr *)&addr, l->name, true);
	ev_io_init(&l->io, on_accept, l->fd, EV_READ);
	ev_io_start(EV_DEFAULT_UC_ &l->io);
}

static void
load_certificate(struct sink *k)
{
	const char *key = k->opt.tls_key ? k->opt.tls_key : k->opt.tls_cert;
	int ret;

	if (!k->opt.tls_cert)
		return;
	ret = gnutls_certificate_allocate_credentials(&k->cred);
	if (ret >= 0)
		ret = gnutls_certificate_set_x509_key_file(k->cred, k->opt.tls_cert, key,
			GNUTLS_X509_FMT_PEM);
	if (ret < 0) {
		fprintf(stderr, "ga_smtp_sink: certificate %s: %s\n", k->opt.tls_cert,
			gnutls_strerror(ret));
		exit(1);
	}
}

static void
on_report(EV_P_ ev_signal *sig, int revents)
{
	(void)EV_A;
	(void)sig;
	(void)revents;
	sink_report(&the_sink, stdout);
}

static void
on_stop(EV_P_ ev_signal *sig, int revents)
{
	(void)sig;
	(void)revents;
	ev_break(EV_A_ EVBREAK_ALL);
}

static void
watch_signals(void)
{
	static ev_signal report, term, interrupt;

	ev_signal_init(&report, on_report, SIGUSR1);
	ev_signal_init(&term, on_stop, SIGTERM);
	ev_signal_init(&interrupt, on_stop, SIGINT);
	ev_signal_start(EV_DEFAULT_UC_ &report);
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
start_listeners(struct sink *k)
{
	struct opt_list *to = &k->opt.listen;
	static const char *fallback[] = { "127.0.0.1:2525" };

	if (!to->count)
		*to = (struct opt_list){ fallback, 1 };
	k->listeners = to->count;
	k->listener = calloc(to->count, sizeof *k->listener);
	if (!k->listener)
		abort();
	for (size_t i = 0; i < to->count; i++)
		listen_on(&k->listener[i], to->item[i]);
	for (size_t i = 0; i < to->count; i++)
		fprintf(stderr, "ga_smtp_sink: ready on %s\n", k->listener[i].name);
}

int
main(int argc, char **argv)
{
	struct sink *k = &the_sink;

	if (opt_parse(&program, argc, argv) < argc)
		opt_wrong(&program, "no operands are taken");
	k->delay_at = stage_named("delay-at", k->opt.delay_at);
	k->reply_at = stage_named("reply-at", k->opt.reply_at);
	if (k->opt.defer_percent + k->opt.fail_percent > 100)
		opt_wrong(&program, "the two shares add up to more than 100");
	if (k->opt.tls_key && !k->opt.tls_cert)
		opt_wrong(&program, "--tls-key needs --tls-cert");
	if (!ev_default_loop(0))
		abort();
	allow_many_descriptors();
	load_certificate(k);
	sink_store_open(k);
	watch_signals();
	k->n.start_us = wire_now_us();
	start_listeners(k);
	ev_run(EV_DEFAULT_UC_ 0);
	sink_report(k, stdout);
	return 0;
}
