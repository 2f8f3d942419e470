/*
 * test_dns.c - the resolver with real servers: knot on loopback, and a server of
 * our own that is silent, slow, broken or rude on demand.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "conf/core_schema.h"
#include "loop/loop.h"
#include "net/dns.h"

#include <greenarrow/run.h>

extern char **environ;

static const struct ga_resolver *resolver;
static char rude_server[40], knot_server[40];
static char knot_dir[] = "/tmp/ga-knot-XXXXXX";
static pid_t knot_pid;

/* --- our own server --- */

static struct {
	pthread_t thread;
	int fd;
	_Atomic unsigned queries;
	_Atomic bool end;
} rude;

static size_t put(unsigned char *to, size_t at, const char *octets, size_t n)
{
	memcpy(to + at, octets, n);
	return at + n;
}

/* A record for the question's name: type, TTL, data. */
static size_t put_record(unsigned char *to, size_t at, unsigned type, uint32_t ttl, const char *data, size_t n)
{
	const unsigned char head[12] = { 0xc0, 12, 0, (unsigned char)type, 0, 1, (unsigned char)(ttl >> 24),
		(unsigned char)(ttl >> 16), (unsigned char)(ttl >> 8), (unsigned char)ttl, (unsigned char)(n >> 8),
		(unsigned char)n };

	to[7]++;
	return put(to, put(to, at, (const char *)head, sizeof(head)), data, n);
}

static size_t put_answers(unsigned char *m, size_t at, const char *label)
{
	if (strcmp(label, "servfail") == 0) {
		m[3] |= 2;
	} else if (strcmp(label, "ttl1") == 0) {
		at = put_record(m, at, 1, 1, "\xc0\0\2\1", 4);
	} else if (strcmp(label, "ttl0") == 0) {
		at = put_record(m, at, 1, 0, "\xc0\0\2\1", 4);
	} else if (strcmp(label, "rudemx") == 0) {
		at = put_record(m, at, 15, 60, "\0\1\3a\0b\0", 7);
		at = put_record(m, at, 15, 60, "\0\2\3a.b\0", 7);
		at = put_record(m, at, 15, 60, "\0\3\3a b\0", 7);
		at = put_record(m, at, 15, 60, "\0\4\4a\r\nb\0", 8);
		at = put_record(m, at, 15, 60, "\0\5\4Good\7EXAMPLE\0", 16);
	} else {
		at = put_record(m, at, 1, 60, "\xc0\0\2\1", 4);
	}
	return at;
}

static void *rude_thread(void *arg)
{
	unsigned char m[2048];
	char label[64];
	struct sockaddr_in from;

	while (!rude.end) {
		struct pollfd p = { rude.fd, POLLIN, 0 };
		socklen_t len = sizeof(from);
		size_t at = 12, question;
		ssize_t n;

		if (poll(&p, 1, 50) <= 0)
			continue;
		n = recvfrom(rude.fd, m, 512, 0, (struct sockaddr *)&from, &len);
		if (n < 17 || m[12] >= sizeof(label))
			continue;
		memcpy(label, m + 13, m[12]);
		label[m[12]] = 0;
		while (m[at] != 0)
			at += m[at] + 1u;
		question = at + 5;
		m[2] = 0x84;
		m[3] = 0x80;
		memset(m + 6, 0, 6);
		/* Not counted either: it is asked again for a long time. */
		if (strcmp(label, "silent") == 0)
			continue;
		rude.queries++;
		if (strcmp(label, "slow") == 0)
			usleep(200000);
		sendto(rude.fd, m, put_answers(m, question, label), 0, (struct sockaddr *)&from, len);
	}
	return arg;
}

/* A loopback address of this process's own: on 127.0.0.1 anything may take a port that was free. */
static const char *own_address(void)
{
	static char text[INET_ADDRSTRLEN];
	unsigned pid = (unsigned)getpid();

	snprintf(text, sizeof(text), "127.%u.%u.%u", 100 + (pid >> 16) % 100, pid >> 8 & 0xff, 1 + pid % 254);
	return text;
}

static unsigned bind_udp(int *fd)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr(own_address()) };
	socklen_t n = sizeof(in);

	*fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(*fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(*fd, (struct sockaddr *)&in, &n), 0);
	return ntohs(in.sin_port);
}

static void start_rude(void)
{
	snprintf(rude_server, sizeof(rude_server), "%s:%u", own_address(), bind_udp(&rude.fd));
	assert_int_equal(pthread_create(&rude.thread, NULL, rude_thread, NULL), 0);
}

/* --- knot --- */

static void write_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", knot_dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

static void write_zone(void)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/mail.test.zone", knot_dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("$ORIGIN mail.test.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
	    "@ MX 20 mx2\n@ MX 10 MX1\nmx1 A 192.0.2.1\nmx1 A 192.0.2.2\nmx1 AAAA 2001:db8::1\n"
	    "alias CNAME mx1\nnull MX 0 .\nnodata TXT \"x\"\nloop1 CNAME loop2\nloop2 CNAME loop1\n", f);
	for (int i = 0; i < 700; i++)
		fprintf(f, "many MX %d m%d\n", (i * 37) % 700, i);
	assert_int_equal(fclose(f), 0);
}

/* True once the server answers at all. */
static bool answers(const char *server)
{
	static const char query[] = "\1\2\1\0\0\1\0\0\0\0\0\0\4mail\4test\0\0\6\0\1";
	struct ga_sockaddr a;
	struct pollfd p = { -1, POLLIN, 0 };
	char buf[512];
	bool ok;

	assert_true(ga_sockaddr_parse(&a, ga_str_c(server), 53));
	p.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ok = connect(p.fd, &a.u.sa, a.len) == 0 && send(p.fd, query, sizeof(query) - 1, 0) > 0 &&
	    poll(&p, 1, 100) == 1 && recv(p.fd, buf, sizeof(buf), 0) > 12;
	close(p.fd);
	return ok;
}

static bool start_knot(void)
{
	char text[1024], path[128];
	char program[] = "knotd", option[] = "-c", *argv[] = { program, option, path, NULL };
	posix_spawn_file_actions_t quiet;
	int fd;
	unsigned port = bind_udp(&fd);

	close(fd);
	assert_non_null(mkdtemp(knot_dir));
	snprintf(path, sizeof(path), "%s/knot.conf", knot_dir);
	snprintf(text, sizeof(text), "server:\n  rundir: \"%s\"\n  listen: %s@%u\n"
	    "database:\n  storage: \"%s\"\nzone:\n- domain: mail.test\n  storage: \"%s\"\n  file: mail.test.zone\n",
	    knot_dir, own_address(), port, knot_dir, knot_dir);
	write_file("knot.conf", text);
	write_zone();
	snprintf(knot_server, sizeof(knot_server), "%s:%u", own_address(), port);
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
	if (access("/usr/sbin/knotd", X_OK) != 0 ||
	    posix_spawn(&knot_pid, "/usr/sbin/knotd", &quiet, NULL, argv, environ) != 0)
		knot_pid = 0;
	posix_spawn_file_actions_destroy(&quiet);
	for (int i = 0; knot_pid > 0 && i < 100; i++, usleep(50000))
		if (answers(knot_server))
			return true;
	return false;
}

static void stop_knot(void)
{
	char command[128];

	if (knot_pid > 0) {
		kill(knot_pid, SIGTERM);
		waitpid(knot_pid, NULL, 0);
	}
	snprintf(command, sizeof(command), "rm -rf %s", knot_dir);
	assert_int_equal(system(command), 0);
}

/* --- asking --- */

struct got {
	_Atomic bool done;		/* set last: the answer may come on another loop */
	bool inside, cancelled;
	unsigned type;
	int rcode;
	bool timed_out;
	uint32_t ttl;
	size_t n;
	char first[4][256], canon[256];
	struct ga_dns_question *q;
};

static void keep(struct got *g, const struct ga_dns_answer *a)
{
	g->rcode = a->rcode;
	g->timed_out = a->timed_out;
	g->ttl = a->ttl;
	g->n = a->n;
	snprintf(g->canon, sizeof(g->canon), "%.*s", (int)a->canonname.n, a->canonname.n > 0 ? a->canonname.p : "");
	for (size_t i = 0; i < a->n && i < 4; i++) {
		uint16_t preference;
		struct ga_sockaddr addr;
		char name[GA_DNS_NAME_ROOM], text[GA_SOCKADDR_TEXT];

		if (ga_dns_address(a->rdata[i], g->type, &addr))
			snprintf(g->first[i], sizeof(g->first[i]), "%s", ga_sockaddr_text(&addr, false, text));
		else if (ga_dns_mx(a->rdata[i], &preference, name, sizeof(name)))
			snprintf(g->first[i], sizeof(g->first[i]), "%u %.240s", preference, name);
		else
			snprintf(g->first[i], sizeof(g->first[i]), "bad");
	}
}

static void got_answer(struct ga_worker *w, const struct ga_dns_answer *a, void *arg)
{
	struct got *g = arg;

	assert_false(g->inside);
	assert_false(g->done);
	assert_ptr_equal(w, ga_worker_self());
	g->cancelled = a == NULL;
	if (a != NULL)
		keep(g, a);
	g->done = true;
}

static void ask(struct got *g, const char *name, unsigned type)
{
	memset(g, 0, sizeof(*g));
	g->inside = true;
	g->type = type;
	g->q = resolver->ask(ga_worker_main(), ga_str_c(name), type, got_answer, g);
	g->inside = false;
	assert_non_null(g->q);
}

static void turn(const _Atomic bool *flag, unsigned ms)
{
	uint64_t until = ga_mono_us() + ms * UINT64_C(1000);

	while ((flag == NULL || !*flag) && ga_mono_us() < until) {
		ev_run(gac_loop_ev(ga_worker_main()), EVRUN_NOWAIT);
		usleep(300);
	}
}

static void wait_for(struct got *g)
{
	turn(&g->done, 15000);
	assert_true(g->done);
}

static void resolve(struct got *g, const char *name, unsigned type)
{
	ask(g, name, type);
	wait_for(g);
}

static bool has(const struct got *g, const char *text)
{
	for (size_t i = 0; i < g->n && i < 4; i++)
		if (strcmp(g->first[i], text) == 0)
			return true;
	return false;
}

static void use(const char *server)
{
	struct ga_str s = ga_str_c(server);
	struct gac_core_conf core = { .dns_server = { .v = &s, .n = 1 } };
	char err[200];

	assert_true(gac_dns_reload(&core, err, sizeof(err)));
}

/* --- knot answers --- */

static int with_knot(void **state)
{
	if (knot_pid > 0)
		use(knot_server);
	return 0;
}

static void need_knot(void)
{
	if (knot_pid == 0)
		skip();
}

static void test_mx_and_addresses(void **state)
{
	struct got g;

	need_knot();
	resolve(&g, "Mail.Test.", GA_DNS_MX);
	assert_int_equal(g.rcode, 0);
	assert_int_equal(g.n, 2);
	assert_true(has(&g, "10 mx1.mail.test"));
	assert_true(has(&g, "20 mx2.mail.test"));
	assert_in_range(g.ttl, 290, 300);
	resolve(&g, "mx1.mail.test", GA_DNS_A);
	assert_int_equal(g.n, 2);
	assert_true(has(&g, "192.0.2.1"));
	assert_true(has(&g, "192.0.2.2"));
	resolve(&g, "mx1.mail.test", GA_DNS_AAAA);
	assert_true(has(&g, "2001:db8::1"));
}

static void test_alias_is_followed(void **state)
{
	struct got g;

	need_knot();
	resolve(&g, "alias.mail.test", GA_DNS_A);
	assert_true(has(&g, "192.0.2.1"));
	assert_string_equal(g.canon, "mx1.mail.test");
	resolve(&g, "mx1.mail.test", GA_DNS_A);
	assert_string_equal(g.canon, "");
	resolve(&g, "loop1.mail.test", GA_DNS_A);
	assert_int_equal(g.n, 0);
	assert_int_not_equal(g.rcode, 3);
}

static void test_nothing_is_of_different_kinds(void **state)
{
	struct got g;

	need_knot();
	resolve(&g, "nodata.mail.test", GA_DNS_MX);
	assert_int_equal(g.rcode, 0);
	assert_int_equal(g.n, 0);
	resolve(&g, "nobody.mail.test", GA_DNS_MX);
	assert_int_equal(g.rcode, 3);
	assert_false(g.timed_out);
	resolve(&g, "null.mail.test", GA_DNS_MX);
	assert_int_equal(g.rcode, 0);
	assert_true(has(&g, "0 "));
	resolve(&g, "elsewhere.example", GA_DNS_A);
	assert_int_not_equal(g.rcode, 0);
	assert_int_not_equal(g.rcode, 3);
}

static void test_of_too_many_mx_the_best_are_kept(void **state)
{
	struct got g;

	need_knot();
	resolve(&g, "many.mail.test", GA_DNS_MX);
	assert_int_equal(g.n, GA_DNS_RECORDS);
	assert_true(strncmp(g.first[0], "0 ", 2) == 0);
	assert_true(strncmp(g.first[3], "3 ", 2) == 0);
}

/* --- our server answers --- */

static int with_rude(void **state)
{
	use(rude_server);
	return 0;
}

/* Queries seen, once none has come for a while: libunbound repeats one whose
 * answer is slow, on a busy machine also one that was answered. */
static unsigned queries(void)
{
	unsigned seen;

	do {
		seen = rude.queries;
		turn(NULL, 150);
	} while (seen != rude.queries);
	return seen;
}

static void test_answer_comes_from_the_cache(void **state)
{
	struct got g;
	unsigned before;

	resolve(&g, "cached.example", GA_DNS_A);
	assert_true(has(&g, "192.0.2.1"));
	before = queries();
	for (int i = 0; i < 100; i++)
		resolve(&g, "CACHED.example.", GA_DNS_A);
	assert_int_equal(g.n, 1);
	assert_int_equal(queries(), before);
}

static void test_answer_ends_with_its_ttl(void **state)
{
	struct got g;
	unsigned before;

	resolve(&g, "ttl1.example", GA_DNS_A);
	before = queries();
	turn(NULL, 2100);
	resolve(&g, "ttl1.example", GA_DNS_A);
	assert_int_equal(g.n, 1);
	assert_true(rude.queries > before);
}

static void ask_again(struct ga_worker *w, const struct ga_dns_answer *a, void *arg)
{
	struct got *g = arg;

	assert_non_null(a);
	assert_non_null(resolver->ask(w, GA_STR("ttl0.example"), GA_DNS_A, got_answer, g));
	assert_false(g->done);
}

static void test_asking_from_inside_an_answer(void **state)
{
	struct got g = { .type = GA_DNS_A };

	assert_non_null(resolver->ask(ga_worker_main(), GA_STR("ttl0.example"), GA_DNS_A, ask_again, &g));
	wait_for(&g);
	assert_int_equal(g.n, 1);
}

static void test_same_questions_are_asked_once(void **state)
{
	struct got g[50];
	unsigned before = queries();

	for (int i = 0; i < 50; i++)
		ask(&g[i], "slow.example", GA_DNS_A);
	for (int i = 0; i < 50; i++) {
		wait_for(&g[i]);
		assert_int_equal(g[i].n, 1);
	}
	/* once, and what was repeated because it is slow */
	assert_in_range(queries() - before, 1, 24);
}

static void test_servfail_is_remembered_for_seconds_only(void **state)
{
	struct got g;
	unsigned before;

	resolve(&g, "servfail.example", GA_DNS_A);
	assert_int_equal(g.rcode, 2);
	assert_false(g.timed_out);
	before = queries();
	resolve(&g, "servfail.example", GA_DNS_A);
	assert_int_equal(g.rcode, 2);
	assert_int_equal(queries(), before);
}

static void test_silence_is_a_timeout_and_holds_nobody_up(void **state)
{
	struct got silent, other;
	uint64_t since = ga_mono_us();

	gac_dns_timeout(700);
	ask(&silent, "silent.example", GA_DNS_A);
	resolve(&other, "prompt.example", GA_DNS_A);
	assert_int_equal(other.n, 1);
	assert_false(silent.done);
	wait_for(&silent);
	gac_dns_timeout(10000);
	assert_true(silent.timed_out);
	assert_int_equal(silent.rcode, 2);
	assert_in_range(ga_mono_us() - since, 600000, 3000000);
}

static void test_cancelled_question_is_called_back_once_without_answer(void **state)
{
	struct got waiting, cached, kept;

	resolve(&cached, "cancel.example", GA_DNS_A);
	ask(&cached, "cancel.example", GA_DNS_A);
	resolver->cancel(cached.q);
	ask(&waiting, "slow.cancel.example", GA_DNS_A);
	ask(&kept, "slow.cancel.example", GA_DNS_A);
	waiting.inside = true;
	resolver->cancel(waiting.q);
	waiting.inside = false;
	assert_false(waiting.done);
	wait_for(&waiting);
	wait_for(&cached);
	assert_true(waiting.cancelled && cached.cancelled);
	wait_for(&kept);
	assert_false(kept.cancelled);
	assert_int_equal(kept.n, 1);
}

static void test_names_that_are_none(void **state)
{
	static const char *const bad[] = { "", ".", "..", "a..b", "a b.example", ".a.example", "a\\.b.example", "a\nb.example", "\xc3\xa9.example",
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.example" };
	unsigned before = queries();
	char long_name[3000];
	struct got g;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		resolve(&g, bad[i], GA_DNS_A);
		if (g.rcode != 3)
			fail_msg("%s: %d", bad[i], g.rcode);
	}
	memset(long_name, 'a', sizeof(long_name) - 1);
	for (size_t i = 30; i < sizeof(long_name); i += 30)
		long_name[i] = '.';
	long_name[sizeof(long_name) - 1] = 0;
	resolve(&g, long_name, GA_DNS_A);
	assert_int_equal(g.rcode, 3);
	long_name[600] = 0;
	resolve(&g, long_name, GA_DNS_A);
	assert_int_equal(g.rcode, 3);
	assert_int_equal(queries(), before);
}

static void test_rude_names_do_not_come_through(void **state)
{
	struct got g;

	resolve(&g, "rudemx.example", GA_DNS_MX);
	assert_int_equal(g.rcode, 0);
	assert_int_equal(g.n, 5);
	for (int i = 0; i < 4; i++)
		if (strcmp(g.first[i], "bad") != 0)
			assert_string_equal(g.first[i], "5 good.example");
}

static void test_many_different_questions(void **state)
{
	enum { N = 3000 };
	struct got *g = calloc(N, sizeof(*g));
	char name[64];

	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "n%d.many.example", i);
		ask(&g[i], name, GA_DNS_A);
	}
	for (int i = 0; i < N; i++) {
		wait_for(&g[i]);
		assert_int_equal(g[i].n, 1);
	}
	free(g);
}

static void test_cache_is_bounded(void **state)
{
	enum { N = 9000, AT_ONCE = 300 };
	struct got g[AT_ONCE];
	char name[64];
	unsigned before;

	for (int i = 0; i < N; i += AT_ONCE) {
		for (int k = 0; k < AT_ONCE; k++) {
			snprintf(name, sizeof(name), "b%d.bound.example", i + k);
			ask(&g[k], name, GA_DNS_A);
		}
		for (int k = 0; k < AT_ONCE; k++)
			wait_for(&g[k]);
	}
	before = queries();
	resolve(&g[0], "b8999.bound.example", GA_DNS_A);
	assert_int_equal(queries(), before);
	assert_int_equal(g[0].n, 1);
	resolve(&g[0], "b0.bound.example", GA_DNS_A);
	assert_int_equal(g[0].n, 1);
}

struct on_worker {
	struct ga_post post;
	struct got got;
};

static void ask_on_worker(struct ga_worker *w, struct ga_post *post)
{
	struct on_worker *o = GA_CONTAINER(post, struct on_worker, post);

	o->got.type = GA_DNS_A;
	o->got.q = resolver->ask(w, GA_STR("cached.example"), GA_DNS_A, got_answer, &o->got);
}

static void test_each_loop_gets_its_own_callback(void **state)
{
	struct on_worker o = { .post.fn = ask_on_worker };
	const _Atomic bool *done = &o.got.done;

	ga_loop_post(ga_worker_get(0), &o.post);
	for (int i = 0; i < 5000 && !*done; i++)
		usleep(1000);
	assert_true(*done);
	assert_int_equal(o.got.n, 1);
}

static void test_reload_asks_again_what_is_under_way(void **state)
{
	struct got g;

	gac_dns_timeout(10000);
	ask(&g, "silent.reload.example", GA_DNS_A);
	turn(NULL, 100);
	assert_false(g.done);
	use(rude_server);
	turn(NULL, 200);
	assert_false(g.done);
	if (knot_pid > 0) {
		use(knot_server);
		wait_for(&g);
		assert_false(g.timed_out);
	} else {
		resolver->cancel(g.q);
		wait_for(&g);
	}
}

static void test_bad_server_is_refused_with_its_name(void **state)
{
	struct ga_str s = GA_STR("localhost:53");
	struct gac_core_conf core = { .dns_server = { .v = &s, .n = 1 } };
	char err[200];

	assert_false(gac_dns_reload(&core, err, sizeof(err)));
	assert_string_equal(err, "dns_server localhost:53: not an IP or IP:PORT");
}

/* --- record data alone --- */

static bool name_of(const char *rdata, size_t n, char *out)
{
	char *copy = malloc(n > 0 ? n : 1);
	bool ok;

	memcpy(copy, rdata, n);
	ok = ga_dns_name((struct ga_str){ copy, n }, out, GA_DNS_NAME_ROOM);
	free(copy);
	return ok;
}

static void test_names_in_record_data(void **state)
{
	char out[GA_DNS_NAME_ROOM], longest[256];

	assert_true(name_of("\3MX1\7example\0", 13, out));
	assert_string_equal(out, "mx1.example");
	assert_true(name_of("\0", 1, out));
	assert_string_equal(out, "");
	assert_true(name_of("\4_sip\0", 6, out));
	for (size_t n = 0; n < 13; n++)
		assert_false(name_of("\3mx1\7example\0", n, out));
	assert_string_equal(out, "");
	assert_false(name_of("\3mx1\7example\0x", 14, out));
	assert_false(name_of("\3mx1\xc0\0", 6, out));
	assert_false(name_of("\3m\0x\0", 5, out));
	assert_false(name_of("\3m.x\0", 5, out));
	assert_false(name_of("\3m x\0", 5, out));
	assert_false(name_of("\3m\nx\0", 5, out));
	assert_false(name_of("\3m\\x\0", 5, out));
	memset(longest, 'x', sizeof(longest));
	longest[0] = longest[64] = longest[128] = 63;
	longest[192] = 61;
	longest[254] = 0;
	assert_true(name_of(longest, 255, out));
	assert_int_equal(strlen(out), 253);
	assert_false(ga_dns_name((struct ga_str){ longest, 255 }, out, 253));
	longest[192] = 62;
	longest[255] = 0;
	assert_false(name_of(longest, 256, out));
}

static void test_lengths_of_record_data(void **state)
{
	static const char zero[32];
	char out[GA_DNS_NAME_ROOM];
	struct ga_sockaddr a;
	uint16_t preference;

	for (size_t n = 0; n <= 32; n++) {
		assert_int_equal(ga_dns_address((struct ga_str){ zero, n }, GA_DNS_A, &a), n == 4);
		assert_int_equal(ga_dns_address((struct ga_str){ zero, n }, GA_DNS_AAAA, &a), n == 16);
		assert_int_equal(ga_dns_mx((struct ga_str){ zero, n }, &preference, out, sizeof(out)), n == 3);
	}
	assert_true(ga_dns_mx((struct ga_str){ "\xff\xfe\1a\0", 5 }, &preference, out, sizeof(out)));
	assert_int_equal(preference, 0xfffe);
	assert_false(ga_dns_mx((struct ga_str){ "\0\1\1a\0", 5 }, &preference, out, 1));
	assert_false(ga_dns_mx((struct ga_str){ "\0\1\1a\0", 5 }, &preference, out, 0));
}

/* --- */

static int begin_all(void **state)
{
	struct ga_str s;
	struct gac_core_conf core = { .dns_server = { .v = &s, .n = 1 } };
	char err[200];

	start_rude();
	start_knot();
	s = ga_str_c(rude_server);
	gac_loops_init(1);
	if (!gac_dns_init(&core, err, sizeof(err)))
		return -1;
	gac_dns_start();
	gac_loops_start(NULL);
	resolver = ga_service_get(GA_RESOLVER_SERVICE, GA_RESOLVER_VERSION);
	return resolver != NULL ? 0 : -1;
}

static int end_all(void **state)
{
	struct got left[3];

	/* Waiting, posted, and cancelled questions at the end are nobody's leak. */
	ask(&left[0], "silent.end.example", GA_DNS_A);
	ask(&left[1], "", GA_DNS_A);
	ask(&left[2], "silent.end.example", GA_DNS_A);
	resolver->cancel(left[2].q);
	gac_loops_stop(NULL);
	gac_dns_stop();
	gac_loops_free();
	rude.end = true;
	pthread_join(rude.thread, NULL);
	close(rude.fd);
	stop_knot();
	return 0;
}

#define RUDE(f) cmocka_unit_test_setup(f, with_rude)
#define KNOT(f) cmocka_unit_test_setup(f, with_knot)

int main(void)
{
	const struct CMUnitTest tests[] = {
		KNOT(test_mx_and_addresses),
		KNOT(test_alias_is_followed),
		KNOT(test_nothing_is_of_different_kinds),
		KNOT(test_of_too_many_mx_the_best_are_kept),
		RUDE(test_answer_comes_from_the_cache),
		RUDE(test_answer_ends_with_its_ttl),
		RUDE(test_asking_from_inside_an_answer),
		RUDE(test_same_questions_are_asked_once),
		RUDE(test_servfail_is_remembered_for_seconds_only),
		RUDE(test_silence_is_a_timeout_and_holds_nobody_up),
		RUDE(test_cancelled_question_is_called_back_once_without_answer),
		RUDE(test_names_that_are_none),
		RUDE(test_rude_names_do_not_come_through),
		RUDE(test_many_different_questions),
		RUDE(test_cache_is_bounded),
		RUDE(test_each_loop_gets_its_own_callback),
		RUDE(test_reload_asks_again_what_is_under_way),
		RUDE(test_bad_server_is_refused_with_its_name),
		cmocka_unit_test(test_names_in_record_data),
		cmocka_unit_test(test_lengths_of_record_data),
	};

	return cmocka_run_group_tests_name("resolver", tests, begin_all, end_all);
}
