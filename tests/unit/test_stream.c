/*
 * test_stream.c - streams, plain and TLS, and connecting, over real sockets.
 *
 * Both ends live on the main loop, which the test turns itself; where the peer
 * must misbehave inside TLS it is plain GnuTLS on a thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <cmocka.h>

#include "loop/loop.h"
#include "net/stream.h"
#include "net/tls.h"
#include "test_cert.h"

enum { BIG = 3 << 20 };

struct end {
	struct ga_stream *s;
	char *in;
	size_t n, read_size;		/* at most this many octets a call */
	const char *out;
	size_t out_n;
	int err;			/* of read */
	bool eof, tls_done, close_when_ready, close_when_done;
	char tls_err[300];
	unsigned calls;
	bool inside;			/* a stream function is running */
};

static struct test_certs certs;
static struct ga_tls_server *server_tls;
static int listening = -1;
static struct ga_sockaddr where;
static struct end a, b;			/* a connects, b is connected to */

static struct ga_worker *loop(void)
{
	return ga_worker_main();
}

/* Turns the loop until *flag or for ms. */
static void turn(const bool *flag, unsigned ms)
{
	uint64_t until = ga_mono_us() + ms * UINT64_C(1000);

	while ((flag == NULL || !*flag) && ga_mono_us() < until) {
		ev_run(gac_loop_ev(loop()), EVRUN_NOWAIT);
		usleep(200);
	}
}

static void update_want(struct end *e)
{
	ga_stream_want(e->s, (e->eof || e->err ? 0 : GA_READ) | (e->out_n > 0 ? GA_WRITE : 0));
}

static void do_read(struct end *e)
{
	ssize_t r = ga_stream_read(e->s, e->in + e->n, e->read_size);

	if (r > 0)
		e->n += (size_t)r;
	else if (r == 0)
		e->eof = true;
	else if (r != -EAGAIN)
		e->err = (int)-r;
}

static void do_write(struct end *e)
{
	struct iovec v[3] = { { (void *)(uintptr_t)e->out, e->out_n / 3 }, { NULL, 0 },
		{ (void *)(uintptr_t)(e->out + e->out_n / 3), e->out_n - e->out_n / 3 } };
	ssize_t r = ga_stream_writev(e->s, v, 3);

	if (r > 0) {
		e->out += r;
		e->out_n -= (size_t)r;
	} else if (r != -EAGAIN) {
		e->err = (int)-r;
		e->out_n = 0;
	}
}

static void ready(struct ga_stream *s, unsigned events, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(s, e->s);
	assert_false(e->inside);
	e->calls++;
	if (e->close_when_ready) {
		ga_stream_close(s, false);
		e->s = NULL;
		return;
	}
	e->inside = true;
	if (events & GA_READ)
		do_read(e);
	if (events & GA_WRITE)
		do_write(e);
	update_want(e);
	e->inside = false;
}

static void tls_done(struct ga_stream *s, const char *err, void *arg)
{
	struct end *e = arg;

	assert_false(e->inside);
	assert_false(e->tls_done);
	e->tls_done = true;
	snprintf(e->tls_err, sizeof(e->tls_err), "%s", err != NULL ? err : "");
	if (e->close_when_done) {
		ga_stream_close(s, false);
		e->s = NULL;
	}
}

static void begin(struct end *e, struct ga_stream *s)
{
	char *in = e->in != NULL ? e->in : malloc(BIG + 65536);

	assert_non_null(s);
	*e = (struct end){ .s = s, .in = in, .read_size = 65536 };
	s->ready = ready;
	s->tls_done = tls_done;
	s->arg = e;
}

struct outcome {
	bool done;
	struct ga_stream *s;
	int code;
	char err[200];
};

static void connected(struct ga_worker *w, struct ga_stream *s, int code, const char *err, void *arg)
{
	struct outcome *o = arg;

	assert_false(o->done);
	o->done = true;
	o->s = s;
	o->code = code;
	snprintf(o->err, sizeof(o->err), "%s", err != NULL ? err : "");
}

static struct ga_stream *accept_stream(void)
{
	struct ga_sockaddr peer = { .len = sizeof(peer.u) };
	int fd;

	do
		fd = accept4(listening, &peer.u.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (fd < 0 && errno == EAGAIN && usleep(1000) == 0);
	assert_true(fd >= 0);
	return ga_stream_fd(loop(), fd, &peer, &where);
}

static int make_pair(void **state)
{
	struct outcome o = { 0 };
	struct ga_connect *c = ga_connect(loop(), &where, NULL, 5000, connected, &o);

	assert_non_null(c);
	assert_false(o.done);
	turn(&o.done, 5000);
	assert_string_equal(o.err, "");
	begin(&a, o.s);
	begin(&b, accept_stream());
	return 0;
}

static int close_pair(void **state)
{
	if (a.s != NULL)
		ga_stream_close(a.s, false);
	if (b.s != NULL)
		ga_stream_close(b.s, false);
	a.s = b.s = NULL;
	return 0;
}

static void again(void)
{
	close_pair(NULL);
	make_pair(NULL);
}

static char *big_text(void)
{
	char *text = malloc(BIG);

	for (size_t i = 0; i < BIG; i++)
		text[i] = (char)(i * 31 + i / 253);
	return text;
}

static void transfer_both_ways(size_t read_size)
{
	char *text = big_text();
	size_t n = read_size < 1000 ? BIG / 50 : BIG;

	for (struct end *e = &a; e != NULL; e = e == &a ? &b : NULL) {
		e->n = 0;
		e->read_size = read_size;
		e->out = text;
		e->out_n = n;
		update_want(e);
	}
	for (int i = 0; i < 300 && (a.n < n || b.n < n); i++)
		turn(NULL, 50);
	assert_int_equal(a.err, 0);
	assert_int_equal(b.err, 0);
	assert_int_equal(a.n, n);
	assert_int_equal(b.n, n);
	assert_memory_equal(a.in, text, n);
	assert_memory_equal(b.in, text, n);
	free(text);
}

static void shake(struct ga_tls_params client, struct ga_tls_params server)
{
	server.server = server_tls;
	ga_stream_starttls(b.s, &server);
	ga_stream_starttls(a.s, &client);
	assert_false(a.tls_done || b.tls_done);
	turn(&a.tls_done, 5000);
	turn(&b.tls_done, 5000);
	assert_true(a.tls_done && b.tls_done);
}

static void shake_ok(struct ga_tls_params client)
{
	shake(client, (struct ga_tls_params){ .timeout_ms = 5000 });
	assert_string_equal(a.tls_err, "");
	assert_string_equal(b.tls_err, "");
}

/* --- plain --- */

static void test_octets_go_both_ways(void **state)
{
	const struct ga_stream_info *i = ga_stream_info(a.s);

	assert_true(ga_sockaddr_equal(&i->remote, &where, true));
	assert_true(ga_sockaddr_equal(&i->local, &ga_stream_info(b.s)->remote, true));
	assert_false(i->tls);
	transfer_both_ways(65536);
	transfer_both_ways(10);
}

static void test_end_and_reset_are_told_apart(void **state)
{
	update_want(&b);
	ga_stream_close(a.s, false);
	a.s = NULL;
	turn(&b.eof, 5000);
	assert_true(b.eof);
	again();
	update_want(&b);
	ga_stream_close(a.s, true);
	a.s = NULL;
	turn(&b.eof, 200);
	assert_false(b.eof);
	assert_int_equal(b.err, ECONNRESET);
}

static void test_last_words_arrive_though_input_was_not_read(void **state)
{
	static const char last[] = "421 bye\r\n";
	struct iovec v = { (void *)(uintptr_t)last, sizeof(last) - 1 };
	char *text = big_text();

	a.out = text;
	a.out_n = 5000;
	update_want(&a);
	turn(NULL, 50);
	assert_int_equal(ga_stream_writev(b.s, &v, 1), sizeof(last) - 1);
	ga_stream_close(b.s, false);
	b.s = NULL;
	turn(&a.eof, 5000);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.n, sizeof(last) - 1);
	free(text);
}

static void test_close_inside_ready(void **state)
{
	struct iovec v = { (void *)(uintptr_t)"x", 1 };

	b.close_when_ready = true;
	update_want(&b);
	assert_int_equal(ga_stream_writev(a.s, &v, 1), 1);
	turn(NULL, 50);
	assert_null(b.s);
}

static void test_no_events_when_none_are_wanted(void **state)
{
	struct iovec v = { (void *)(uintptr_t)"x", 1 };

	ga_stream_want(b.s, 0);
	assert_int_equal(ga_stream_writev(a.s, &v, 1), 1);
	turn(NULL, 30);
	assert_int_equal(b.calls, 0);
	update_want(&b);
	turn(NULL, 30);
	assert_int_equal(b.n, 1);
}

static void test_an_idle_stream_is_small(void **state)
{
	assert_true(sizeof(struct fd_stream) < 2048);
}

/* --- connecting --- */

static void attempt(const char *remote, const char *source, uint32_t ms, struct outcome *o)
{
	struct ga_sockaddr to, from;

	memset(o, 0, sizeof(*o));
	assert_true(ga_sockaddr_parse(&to, ga_str_c(remote), 25));
	if (source != NULL)
		assert_true(ga_sockaddr_parse(&from, ga_str_c(source), 0));
	assert_non_null(ga_connect(loop(), &to, source != NULL ? &from : NULL, ms, connected, o));
	assert_false(o->done);
	turn(&o->done, 5000);
	assert_true(o->done);
}

static void test_refused_connection_says_so(void **state)
{
	struct outcome o;

	attempt("127.0.0.1:1", NULL, 1000, &o);
	assert_null(o.s);
	assert_int_equal(o.code, ECONNREFUSED);
	assert_string_equal(o.err, "connect: Connection refused");
}

static void test_source_address(void **state)
{
	struct outcome o;
	char to[GA_SOCKADDR_TEXT], text[GA_SOCKADDR_TEXT];

	ga_sockaddr_text(&where, true, to);
	attempt(to, "192.0.2.9", 1000, &o);
	assert_null(o.s);
	assert_int_equal(o.code, EADDRNOTAVAIL);
	assert_string_equal(o.err, "source address 192.0.2.9 is not on this machine");
	attempt(to, "::1", 1000, &o);
	assert_int_equal(o.code, EAFNOSUPPORT);
	attempt(to, "127.0.0.77", 1000, &o);
	assert_non_null(o.s);
	assert_string_equal(ga_sockaddr_text(&ga_stream_info(o.s)->local, false, text), "127.0.0.77");
	assert_true(ga_sockaddr_port(&ga_stream_info(o.s)->local) != 0);
	ga_stream_close(o.s, true);
	ga_stream_close(accept_stream(), true);
}

static void test_connect_times_out(void **state)
{
	struct outcome o[4] = { { 0 } };
	struct ga_sockaddr full = { .len = sizeof(full.u) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	/* Nobody accepts: once the backlog is full a SYN gets no answer. */
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(getsockname(fd, &full.u.sa, &full.len), 0);
	for (int i = 0; i < 4; i++)
		assert_non_null(ga_connect(loop(), &full, NULL, 300, connected, &o[i]));
	turn(NULL, 600);
	assert_true(o[3].done);
	assert_null(o[3].s);
	assert_int_equal(o[3].code, ETIMEDOUT);
	assert_string_equal(o[3].err, "connect: no answer within 1 s");
	for (int i = 0; i < 4; i++)
		if (o[i].s != NULL)
			ga_stream_close(o[i].s, true);
	close(fd);
}

static void test_cancelled_connect_calls_nobody(void **state)
{
	struct outcome o = { 0 };

	ga_connect_cancel(ga_connect(loop(), &where, NULL, 1000, connected, &o));
	turn(NULL, 30);
	assert_false(o.done);
	ga_stream_close(accept_stream(), true);
}

/* --- TLS --- */

static void test_tls_octets_go_both_ways(void **state)
{
	shake_ok((struct ga_tls_params){ .server_name = GA_STR("mx.example") });
	assert_true(ga_stream_info(a.s)->tls && ga_stream_info(b.s)->tls);
	assert_string_equal(ga_stream_info(a.s)->tls_version, "TLS1.3");
	assert_true(strncmp(ga_stream_info(a.s)->tls_cipher, "TLS_", 4) == 0);
	assert_string_equal(ga_stream_info(a.s)->tls_peer, "CN=mx.example");
	assert_false(ga_stream_info(a.s)->tls_verified);
	assert_string_equal(ga_stream_info(a.s)->tls_verify_error, "not asked for");
	transfer_both_ways(65536);
	transfer_both_ways(10);
	update_want(&b);
	ga_stream_close(a.s, false);
	a.s = NULL;
	turn(&b.eof, 1000);
	assert_true(b.eof);
	assert_int_equal(b.err, 0);
}

static void test_small_pieces_share_a_record(void **state)
{
	struct iovec v[100];
	int waiting = 0;

	shake_ok((struct ga_tls_params){ .timeout_ms = 0 });
	turn(NULL, 20);
	for (int i = 0; i < 100; i++)
		v[i] = (struct iovec){ (void *)(uintptr_t)"0123456789", 10 };
	assert_int_equal(ga_stream_writev(a.s, v, 100), 1000);
	usleep(20000);
	assert_int_equal(ioctl(((struct fd_stream *)b.s)->io.fd, FIONREAD, &waiting), 0);
	assert_in_range(waiting, 1000, 1050);
}

static void test_peer_that_does_not_read_is_waited_for(void **state)
{
	char *text = big_text();

	shake_ok((struct ga_tls_params){ .timeout_ms = 0 });
	a.out = text;
	a.out_n = BIG;
	ga_stream_want(a.s, GA_WRITE);
	turn(NULL, 200);
	assert_int_equal(b.n, 0);
	assert_int_equal(a.err, 0);
	update_want(&b);
	for (int i = 0; i < 200 && b.n < BIG; i++)
		turn(NULL, 50);
	assert_int_equal(b.n, BIG);
	assert_memory_equal(b.in, text, BIG);
	free(text);
}

static void test_verification(void **state)
{
	struct ga_tls_params p = { .server_name = GA_STR("mx.example"), .verify = true };

	shake_ok(p);
	assert_true(ga_stream_info(a.s)->tls_verified);
	assert_string_equal(ga_stream_info(a.s)->tls_verify_error, "");
	again();
	p.server_name = GA_STR("mx.other.example");
	shake(p, (struct ga_tls_params){ .timeout_ms = 5000 });
	assert_non_null(strstr(a.tls_err, "certificate of mx.other.example"));
	assert_false(ga_stream_info(a.s)->tls_verified);
	assert_int_equal(ga_stream_read(a.s, a.in, 1), -EPROTO);
	again();
	p.server_name = GA_STR("[127.0.0.1]");
	shake(p, (struct ga_tls_params){ .timeout_ms = 5000 });
	assert_non_null(strstr(a.tls_err, "no host name"));
}

static bool resumes(struct ga_tls_params p)
{
	again();
	shake_ok(p);
	update_want(&a);
	turn(NULL, 30);
	return ga_stream_info(a.s)->tls_resumed;
}

static void test_sessions_are_resumed_within_their_key_only(void **state)
{
	struct ga_tls_params p = { .server_name = GA_STR("mx.example"), .resume_key = GA_STR("key 1") };

	assert_false(resumes(p));
	assert_true(resumes(p));
	assert_true(resumes(p));
	p.verify = true;
	assert_false(resumes(p));
	assert_true(resumes(p));
	assert_true(ga_stream_info(a.s)->tls_verified);
	p.verify = false;
	p.resume_key = GA_STR("key 2");
	assert_false(resumes(p));
	p.resume_key = GA_STR("key 1");
	p.server_name = GA_STR("mx2.example");
	assert_false(resumes(p));
	p.resume_key = GA_STR("");
	assert_false(resumes(p));
	assert_false(resumes(p));
}

static void test_tickets_of_another_server_are_not_taken(void **state)
{
	struct ga_tls_params p = { .server_name = GA_STR("mx.example"), .resume_key = GA_STR("key 3") };
	struct ga_tls_server *keep = server_tls;
	char err[200];

	assert_false(resumes(p));
	assert_true(resumes(p));
	again();
	server_tls = ga_tls_server_new(certs.cert, certs.key, err, sizeof(err));
	assert_non_null(server_tls);
	assert_false(resumes(p));
	ga_tls_server_unref(server_tls);
	server_tls = keep;
}

static void test_alpn(void **state)
{
	struct ga_tls_params p = { .alpn = GA_STR("one/1") };

	shake(p, (struct ga_tls_params){ .alpn = GA_STR("one/1") });
	assert_string_equal(a.tls_err, "");
	again();
	shake(p, (struct ga_tls_params){ .alpn = GA_STR("two/1") });
	assert_string_not_equal(a.tls_err, "");
	assert_string_not_equal(b.tls_err, "");
	again();
	shake((struct ga_tls_params){ .timeout_ms = 0 }, (struct ga_tls_params){ .alpn = GA_STR("two/1") });
	assert_string_equal(a.tls_err, "");
}

static void test_plaintext_behind_starttls_fails_the_handshake(void **state)
{
	static const char text[] = "EHLO injected.example\r\nMAIL FROM:<x@y>\r\n";
	struct iovec v = { (void *)(uintptr_t)text, sizeof(text) - 1 };
	struct ga_tls_params p = { .server = server_tls, .timeout_ms = 5000 };

	assert_true(ga_stream_writev(a.s, &v, 1) > 0);
	ga_stream_starttls(b.s, &p);
	turn(&b.tls_done, 5000);
	assert_non_null(strstr(b.tls_err, "TLS handshake: "));
	assert_int_equal(ga_stream_read(b.s, b.in, 100), -EPROTO);
	assert_int_equal(ga_stream_writev(b.s, &v, 1), -EPROTO);
	assert_false(ga_stream_info(b.s)->tls);
}

static void test_silent_peer_times_out(void **state)
{
	struct ga_tls_params p = { .timeout_ms = 50 };

	ga_stream_starttls(a.s, &p);
	turn(&a.tls_done, 1000);
	assert_string_equal(a.tls_err, "TLS handshake: no end within 1 s");
}

static void test_starttls_twice_is_an_error(void **state)
{
	struct ga_tls_params p = { .timeout_ms = 0 };

	shake_ok(p);
	a.tls_done = false;
	ga_stream_starttls(a.s, &p);
	turn(&a.tls_done, 1000);
	assert_string_equal(a.tls_err, "TLS is on already");
}

static void test_close_at_any_moment_of_tls(void **state)
{
	struct ga_tls_params p = { .timeout_ms = 1000 };

	ga_stream_starttls(a.s, &p);
	turn(NULL, 5);
	again();
	a.close_when_done = b.close_when_done = true;
	shake(p, p);
	assert_null(a.s);
	assert_null(b.s);
	again();
	shake_ok(p);
	ga_stream_close(a.s, true);
	a.s = NULL;
	update_want(&b);
	turn(NULL, 50);
	assert_true(b.err == ECONNRESET || b.eof);
}

/* --- a peer that speaks TLS in its own way --- */

struct rogue {
	const char *priority;
	void (*act)(gnutls_session_t, int fd);
	int fd, result;
};

static void *rogue_thread(void *arg)
{
	struct rogue *r = arg;
	gnutls_certificate_credentials_t c;
	gnutls_session_t s;

	gnutls_certificate_allocate_credentials(&c);
	gnutls_init(&s, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
	gnutls_priority_set_direct(s, r->priority, NULL);
	gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, c);
	gnutls_transport_set_int(s, r->fd);
	do
		r->result = gnutls_handshake(s);
	while (r->result < 0 && !gnutls_error_is_fatal(r->result));
	if (r->result >= 0)
		r->act(s, r->fd);
	gnutls_deinit(s);
	gnutls_certificate_free_credentials(c);
	return NULL;
}

/* Runs the rogue against b until b's reading ends. */
static void meet(struct rogue *r)
{
	struct ga_tls_params p = { .server = server_tls, .timeout_ms = 3000 };
	pthread_t t;

	close_pair(NULL);
	r->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(r->fd, &where.u.sa, where.len), 0);
	begin(&b, accept_stream());
	ga_stream_starttls(b.s, &p);
	assert_int_equal(pthread_create(&t, NULL, rogue_thread, r), 0);
	turn(&b.tls_done, 5000);
	assert_true(b.tls_done);
	if (b.tls_err[0] == 0)
		update_want(&b);
	for (int i = 0; i < 50 && !b.eof && b.err == 0; i++)
		turn(&b.eof, 20);
	ga_stream_close(b.s, true);
	b.s = NULL;
	shutdown(r->fd, SHUT_RDWR);
	pthread_join(t, NULL);
	close(r->fd);
}

static void plaintext_after_close_notify(gnutls_session_t s, int fd)
{
	gnutls_record_send(s, "secret", 6);
	gnutls_bye(s, GNUTLS_SHUT_WR);
	for (int i = 0; i < 64; i++)
		if (send(fd, "QUIT\r\n", 6, MSG_NOSIGNAL) != 6)
			return;
}

static void test_nothing_is_read_behind_close_notify(void **state)
{
	struct rogue r = { .priority = "NORMAL", .act = plaintext_after_close_notify };

	meet(&r);
	assert_true(b.eof);
	assert_int_equal(b.n, 6);
	assert_memory_equal(b.in, "secret", 6);
}

static void renegotiate(gnutls_session_t s, int fd)
{
	char buf[10];

	(void)fd;
	gnutls_handshake(s);
	gnutls_record_recv(s, buf, sizeof(buf));
}

static void test_renegotiation_ends_the_stream(void **state)
{
	struct rogue r = { .priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2", .act = renegotiate };

	meet(&r);
	assert_int_equal(r.result, 0);
	assert_int_equal(b.err, EPROTO);
}

static void test_old_versions_are_refused(void **state)
{
	struct rogue r = { .priority = "NORMAL:-VERS-ALL:+VERS-TLS1.1:+SIGN-ALL:%VERIFY_ALLOW_SIGN_WITH_SHA1",
		.act = renegotiate };

	meet(&r);
	assert_true(r.result < 0);
	assert_string_not_equal(b.tls_err, "");
}

static void test_unreadable_certificate_is_named(void **state)
{
	char err[300];

	assert_null(ga_tls_server_new("/nonexistent/cert.pem", certs.key, err, sizeof(err)));
	assert_non_null(strstr(err, "/nonexistent/cert.pem"));
	assert_false(gac_tls_trust("/nonexistent/ca.pem", err, sizeof(err)));
}

/* --- */

static int begin_all(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char err[300];

	gac_loops_init(1);
	test_certs_make(&certs, "mx.example");
	gac_tls_init();
	if (!gac_tls_trust(certs.ca, err, sizeof(err)))
		return -1;
	server_tls = ga_tls_server_new(certs.cert, certs.key, err, sizeof(err));
	listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	where.len = sizeof(where.u);
	if (bind(listening, (struct sockaddr *)&in, sizeof(in)) != 0 || listen(listening, 10) != 0 ||
	    getsockname(listening, &where.u.sa, &where.len) != 0)
		return -1;
	return server_tls != NULL ? 0 : -1;
}

static int end_all(void **state)
{
	ga_tls_server_unref(server_tls);
	test_certs_remove(&certs);
	close(listening);
	free(a.in);
	free(b.in);
	gac_loops_free();
	return 0;
}

#define WITH_PAIR(f) cmocka_unit_test_setup_teardown(f, make_pair, close_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PAIR(test_octets_go_both_ways),
		WITH_PAIR(test_end_and_reset_are_told_apart),
		WITH_PAIR(test_last_words_arrive_though_input_was_not_read),
		WITH_PAIR(test_close_inside_ready),
		WITH_PAIR(test_no_events_when_none_are_wanted),
		cmocka_unit_test(test_an_idle_stream_is_small),
		cmocka_unit_test(test_refused_connection_says_so),
		cmocka_unit_test(test_source_address),
		cmocka_unit_test(test_connect_times_out),
		cmocka_unit_test(test_cancelled_connect_calls_nobody),
		WITH_PAIR(test_tls_octets_go_both_ways),
		WITH_PAIR(test_small_pieces_share_a_record),
		WITH_PAIR(test_peer_that_does_not_read_is_waited_for),
		WITH_PAIR(test_verification),
		WITH_PAIR(test_sessions_are_resumed_within_their_key_only),
		WITH_PAIR(test_tickets_of_another_server_are_not_taken),
		WITH_PAIR(test_alpn),
		WITH_PAIR(test_plaintext_behind_starttls_fails_the_handshake),
		WITH_PAIR(test_silent_peer_times_out),
		WITH_PAIR(test_starttls_twice_is_an_error),
		WITH_PAIR(test_close_at_any_moment_of_tls),
		WITH_PAIR(test_nothing_is_read_behind_close_notify),
		WITH_PAIR(test_renegotiation_ends_the_stream),
		WITH_PAIR(test_old_versions_are_refused),
		cmocka_unit_test(test_unreadable_certificate_is_named),
	};

	return cmocka_run_group_tests_name("streams", tests, begin_all, end_all);
}
