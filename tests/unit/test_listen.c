/*
 * test_listen.c - listeners over start, reload and shortage, with two workers.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "loop/loop.h"
#include "net/listen.h"

enum { KEPT_MAX = 256 };

static _Atomic unsigned taken[2];	/* by worker */
static _Atomic unsigned by_arg[4];
static _Atomic unsigned kept;
static _Atomic int fds[KEPT_MAX];
static struct ga_inst *const inst = (struct ga_inst *)(void *)taken;

static void accepted(struct ga_inst *i, struct ga_worker *w, int fd, const struct ga_sockaddr *peer,
    const struct ga_sockaddr *local, void *arg)
{
	assert_ptr_equal(i, inst);
	assert_ptr_equal(w, ga_worker_self());
	assert_true(ga_sockaddr_port(peer) != 0 && ga_sockaddr_port(local) != 0);
	ga_worker_load(w, 1);
	taken[ga_worker_index(w)]++;
	by_arg[(uintptr_t)arg]++;
	fds[kept++] = fd;
}

static void turn(unsigned ms)
{
	uint64_t until = ga_mono_us() + ms * UINT64_C(1000);

	while (ga_mono_us() < until) {
		ev_run(gac_loop_ev(ga_worker_main()), EVRUN_NOWAIT);
		usleep(500);
	}
}

static unsigned free_port(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	close(fd);
	return ntohs(in.sin_port);
}

static int client(unsigned port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool listen_on(unsigned port, uintptr_t arg, char *err)
{
	char text[40];

	snprintf(text, sizeof(text), "127.0.0.1:%u", port);
	return ga_listen(inst, ga_str_c(text), accepted, (void *)arg, err, 200);
}

static void forget_sessions(void)
{
	for (unsigned i = 0; i < kept; i++)
		close(fds[i]);
	kept = 0;
	for (unsigned i = 0; i < 2; i++) {
		ga_worker_load(ga_worker_get(i), -(int)taken[i]);
		taken[i] = 0;
	}
	memset((void *)(uintptr_t)by_arg, 0, sizeof(by_arg));
}

static int after(void **state)
{
	gac_listen_close_all();
	turn(20);
	forget_sessions();
	return 0;
}

static void test_sockets_go_to_the_loop_with_the_fewest_sessions(void **state)
{
	unsigned port = free_port();
	char err[200] = "";
	int c[20];

	gac_listen_begin();
	assert_true(listen_on(port, 0, err));
	gac_listen_commit();
	ga_worker_load(ga_worker_get(0), 6);
	for (int i = 0; i < 20; i++)
		assert_true((c[i] = client(port)) >= 0);
	turn(100);
	ga_worker_load(ga_worker_get(0), -6);
	assert_int_equal(taken[0], 7);
	assert_int_equal(taken[1], 13);
	assert_int_equal(gac_worker_sessions(ga_worker_get(0)), 7);
	for (int i = 0; i < 20; i++)
		close(c[i]);
}

static void test_reload_keeps_what_stays(void **state)
{
	unsigned stays = free_port(), goes, comes;
	char err[200] = "";
	int c[4];

	gac_listen_begin();
	assert_true(listen_on(stays, 0, err));
	assert_true(listen_on(goes = free_port(), 1, err));
	gac_listen_commit();
	/* Waiting in the backlog when the reload comes: */
	assert_true((c[0] = client(stays)) >= 0);
	assert_true((c[1] = client(goes)) >= 0);
	gac_listen_begin();
	assert_true(listen_on(stays, 2, err));
	assert_true(listen_on(comes = free_port(), 3, err));
	gac_listen_commit();
	assert_true((c[2] = client(stays)) >= 0);
	assert_true((c[3] = client(comes)) >= 0);
	assert_int_equal(client(goes), -1);
	turn(100);
	assert_int_equal(by_arg[0], 0);
	assert_int_equal(by_arg[1], 1);
	assert_int_equal(by_arg[2], 2);
	assert_int_equal(by_arg[3], 1);
	for (int i = 0; i < 4; i++)
		close(c[i]);
}

static void test_refused_reload_changes_nothing(void **state)
{
	unsigned stays = free_port(), comes;
	char err[200] = "";
	int c;

	gac_listen_begin();
	assert_true(listen_on(stays, 0, err));
	gac_listen_commit();
	gac_listen_begin();
	assert_true(listen_on(comes = free_port(), 1, err));
	gac_listen_rollback();
	assert_int_equal(client(comes), -1);
	assert_true((c = client(stays)) >= 0);
	turn(50);
	assert_int_equal(by_arg[0], 1);
	close(c);
}

static void test_why_an_address_cannot_be_had(void **state)
{
	unsigned port = free_port();
	char err[200] = "";

	gac_listen_begin();
	assert_true(listen_on(port, 0, err));
	assert_false(listen_on(port, 0, err));
	assert_non_null(strstr(err, "said twice"));
	assert_false(ga_listen(inst, GA_STR("192.0.2.9:2525"), accepted, NULL, err, sizeof(err)));
	assert_string_equal(err, "listen 192.0.2.9:2525: bind: Cannot assign requested address");
	assert_false(ga_listen(inst, GA_STR("127.0.0.1"), accepted, NULL, err, sizeof(err)));
	assert_string_equal(err, "listen 127.0.0.1: not an IP:PORT");
	gac_listen_rollback();
	assert_int_equal(client(port), -1);
}

static void test_port_in_use_is_said(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char err[200] = "";

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	gac_listen_begin();
	assert_false(listen_on(ntohs(in.sin_port), 0, err));
	assert_non_null(strstr(err, ": bind: Address already in use"));
	close(fd);
}

static void test_local_address_behind_a_wildcard(void **state)
{
	unsigned port = free_port();
	char err[200] = "", text[40];
	int c;

	snprintf(text, sizeof(text), "0.0.0.0:%u", port);
	gac_listen_begin();
	assert_true(ga_listen(inst, ga_str_c(text), accepted, NULL, err, sizeof(err)));
	gac_listen_commit();
	assert_true((c = client(port)) >= 0);
	turn(50);
	assert_int_equal(kept, 1);
	close(c);
}

static void test_paused_listener_accepts_later(void **state)
{
	unsigned port = free_port();
	char err[200] = "";
	int c;

	gac_listen_begin();
	assert_true(listen_on(port, 0, err));
	gac_listen_commit();
	ga_listen_pause(inst, true);
	assert_true((c = client(port)) >= 0);
	turn(50);
	assert_int_equal(kept, 0);
	ga_listen_pause(inst, false);
	turn(50);
	assert_int_equal(kept, 1);
	close(c);
}

static int group(uintptr_t arg, unsigned port, char *err)
{
	char text[40];
	struct ga_listen_on on = { .accepted = accepted };

	snprintf(text, sizeof(text), "127.0.0.1:%u", port);
	on.address = ga_str_c(text);
	return ga_listen_group(inst, (void *)arg, &on, port != 0, err, 200);
}

static void test_one_group_is_changed_and_the_others_go_on(void **state)
{
	unsigned other = free_port(), goes, comes;
	char err[200] = "";
	int c[4];

	gac_listen_begin();
	assert_true(listen_on(other, 0, err));
	assert_true(listen_on(goes = free_port(), 1, err));
	gac_listen_commit();
	assert_true((c[0] = client(goes)) >= 0);
	assert_int_equal(group(1, comes = free_port(), err), 0);
	assert_true((c[1] = client(comes)) >= 0);
	assert_true((c[2] = client(other)) >= 0);
	assert_int_equal(client(goes), -1);
	turn(100);
	assert_int_equal(by_arg[0], 1);
	assert_int_equal(by_arg[1], 2);
	assert_int_equal(group(1, 0, err), 0);
	assert_int_equal(client(comes), -1);
	assert_int_equal(group(1, goes, err), 0);
	assert_true((c[3] = client(goes)) >= 0);
	for (int i = 0; i < 4; i++)
		close(c[i]);
}

static void test_a_group_that_cannot_change_stays(void **state)
{
	unsigned other = free_port(), mine, taken_port = free_port();
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)taken_port) };
	int c, fd = socket(AF_INET, SOCK_STREAM, 0);
	char err[200] = "";

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 1), 0);
	gac_listen_begin();
	assert_true(listen_on(other, 0, err));
	assert_true(listen_on(mine = free_port(), 1, err));
	assert_int_equal(group(1, 0, err), -EBUSY);
	gac_listen_commit();
	assert_int_equal(group(1, taken_port, err), -EADDRNOTAVAIL);
	assert_non_null(strstr(err, "Address already in use"));
	assert_int_equal(group(1, other, err), -EADDRNOTAVAIL);
	assert_non_null(strstr(err, "said twice"));
	assert_true((c = client(mine)) >= 0);
	turn(100);
	assert_int_equal(by_arg[1], 1);
	gac_listen_close_all();
	assert_int_equal(group(1, mine, err), -ESHUTDOWN);
	close(c);
	close(fd);
}

/* A reload that was refused must not show through a change of a group. */
static void test_a_refused_reload_leaves_no_trace_in_groups(void **state)
{
	unsigned port = free_port();
	char err[200] = "";
	int c;

	gac_listen_begin();
	assert_true(listen_on(port, 0, err));
	gac_listen_commit();
	gac_listen_begin();
	assert_true(listen_on(port, 2, err));
	gac_listen_rollback();
	assert_int_equal(group(1, free_port(), err), 0);
	assert_true((c = client(port)) >= 0);
	turn(100);
	assert_int_equal(by_arg[0], 1);
	assert_int_equal(by_arg[2], 0);
	close(c);
}

static uint64_t cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void stop_run(struct ev_loop *ev, struct ev_timer *t, int revents)
{
	ev_break(ev, EVBREAK_ALL);
}

/* Lets the loop sleep as it likes. */
static void run_loop(double seconds)
{
	struct ev_timer t;

	ev_timer_init(&t, stop_run, seconds, 0.);
	ev_timer_start(gac_loop_ev(ga_worker_main()), &t);
	ev_run(gac_loop_ev(ga_worker_main()), 0);
}

static void test_without_descriptors_it_rests_and_recovers(void **state)
{
	unsigned port = free_port();
	struct rlimit before, low;
	char err[200] = "";
	uint64_t used;
	int c, probe;

	gac_listen_begin();
	assert_true(listen_on(port, 0, err));
	gac_listen_commit();
	assert_true((c = client(port)) >= 0);
	probe = dup(0);
	close(probe);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = (rlim_t)probe;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	used = cpu_us();
	run_loop(0.5);
	used = cpu_us() - used;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(kept, 0);
	assert_true(used < 100000);
	run_loop(0.2);
	turn(20);
	assert_int_equal(kept, 1);
	close(c);
}

static int begin_all(void **state)
{
	gac_loops_init(2);
	gac_loops_start(NULL);
	return 0;
}

static int end_all(void **state)
{
	gac_loops_stop(NULL);
	gac_loops_free();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_sockets_go_to_the_loop_with_the_fewest_sessions, after),
		cmocka_unit_test_teardown(test_reload_keeps_what_stays, after),
		cmocka_unit_test_teardown(test_refused_reload_changes_nothing, after),
		cmocka_unit_test_teardown(test_why_an_address_cannot_be_had, after),
		cmocka_unit_test_teardown(test_port_in_use_is_said, after),
		cmocka_unit_test_teardown(test_local_address_behind_a_wildcard, after),
		cmocka_unit_test_teardown(test_paused_listener_accepts_later, after),
		cmocka_unit_test_teardown(test_one_group_is_changed_and_the_others_go_on, after),
		cmocka_unit_test_teardown(test_a_group_that_cannot_change_stays, after),
		cmocka_unit_test_teardown(test_a_refused_reload_leaves_no_trace_in_groups, after),
		cmocka_unit_test_teardown(test_without_descriptors_it_rests_and_recovers, after),
	};

	return cmocka_run_group_tests_name("listeners", tests, begin_all, end_all);
}
