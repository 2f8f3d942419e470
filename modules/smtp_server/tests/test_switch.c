/*
 * test_switch.c - one smtp_service put down, brought up and restarted, also beside a reload.
 *
 * Real listeners on the main loop, which runs only where a test lets it.
 */
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include <greenarrow/service/smtp_services.h>

#include "conf/snapshot.h"
#include "loop/loop.h"
#include "module/helpers.h"
#include "module/inst.h"
#include "net/listen.h"
#include "../switch.h"
#include "world.h"

static struct gac_code code = { .desc.head.name = "smtp_server" };
static struct ga_inst *inst;
static struct smtpd_service *list;
static const struct ga_smtp_services *services;
static unsigned port, other_port;
static char environment[64];

/* --- the daemon around it --- */

static void accepted(struct ga_inst *i, struct ga_worker *w, int fd, const struct ga_sockaddr *peer,
    const struct ga_sockaddr *local, void *arg)
{
	close(fd);
}

static unsigned free_port(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof in;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	close(fd);
	return ntohs(in.sin_port);
}

static bool listens(unsigned at)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)at) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool yes = connect(fd, (struct sockaddr *)&in, sizeof in) == 0;

	close(fd);
	return yes;
}

GA_PRINTF(1, 2) static void write_environment(const char *fmt, ...)
{
	FILE *f = fopen(environment, "w");
	va_list ap;

	assert_non_null(f);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fclose(f);
}

static struct ga_snapshot *load(unsigned at)
{
	char blocks[512];

	snprintf(blocks, sizeof blocks, "smtp_service a {\nlisten 127.0.0.1:%u\nenvironment_file %s\n}\n"
	    "smtp_service b {\nlisten 127.0.0.1:%u\n}\n", at, environment, other_port);
	return world_load(blocks);
}

static bool stage(struct ga_snapshot *next)
{
	gac_listen_begin();
	return smtpd_services_stage(inst, &list, next, accepted, accepted);
}

/* As a reload publishes; takes the reference. */
static void come_into_force(struct ga_snapshot *next)
{
	gac_snapshot_publish(next);
	gac_listen_commit();
	smtpd_services_apply(list);
	ga_snapshot_unref(next);
}

static bool marks_down(const char *name)
{
	return strcmp(name, "marked") == 0;
}

static const struct ga_down_marks marks = { sizeof marks, GA_DOWN_MARKS_VERSION, marks_down };

static int begin(void **state)
{
	struct ga_snapshot *first;

	strcpy(environment, "/tmp/ga-switch-XXXXXX");
	close(mkstemp(environment));
	port = free_port();
	other_port = free_port();
	first = load(port);
	assert_true(stage(first));
	come_into_force(first);
	return 0;
}

static int end(void **state)
{
	gac_listen_close_all();
	smtpd_switch_fini();
	gac_snapshot_publish(NULL);
	smtpd_services_free(list);
	list = NULL;
	unlink(environment);
	return 0;
}

/* --- actions --- */

static struct {
	struct ga_smtp_service_change change;
	unsigned done;
	char why[256];			/* "": it was done */
} act;

static void was_done(struct ga_smtp_service_change *c, const char *why)
{
	assert_ptr_equal(c, &act.change);
	assert_ptr_equal(ga_worker_self(), ga_worker_main());
	act.done++;
	snprintf(act.why, sizeof act.why, "%s", why != NULL ? why : "");
}

static void ask(const char *name, enum ga_smtp_service_action action)
{
	memset(&act, 0, sizeof act);
	act.change = (struct ga_smtp_service_change){ .name = name, .action = action, .done = was_done };
	services->change(&act.change);
	assert_int_equal(act.done, 0);
}

static void turn_main(unsigned ms)
{
	uint64_t until = ga_mono_us() + ms * UINT64_C(1000);

	do {
		ev_run(gac_loop_ev(ga_worker_main()), EVRUN_NOWAIT);
		usleep(500);
	} while (ga_mono_us() < until);
}

static const char *outcome(void)
{
	for (int i = 0; i < 10000 && act.done == 0; i++)
		turn_main(1);
	turn_main(50);
	assert_int_equal(act.done, 1);
	return act.why;
}

static const char *asked(const char *name, enum ga_smtp_service_action action)
{
	ask(name, action);
	return outcome();
}

static void test_a_service_goes_down_and_comes_up_and_the_other_stays(void **state)
{
	assert_int_equal(services->state("a"), GA_SMTP_SERVICE_UP);
	assert_string_equal(asked("a", GA_SMTP_SERVICE_TO_DOWN), "");
	assert_false(listens(port));
	assert_true(listens(other_port));
	assert_int_equal(services->state("a"), GA_SMTP_SERVICE_DOWN);
	assert_string_equal(asked("a", GA_SMTP_SERVICE_RESTART), "");
	assert_false(listens(port));
	assert_string_equal(asked("a", GA_SMTP_SERVICE_TO_UP), "");
	assert_true(listens(port));
}

static void test_a_restart_goes_by_the_files_of_now(void **state)
{
	unsigned next = free_port();
	struct smtpd_gen *before = smtpd_gen_get(list), *now;

	write_environment("PORT=%u\nCONCURRENCY=7\n", next);
	assert_string_equal(asked("a", GA_SMTP_SERVICE_RESTART), "");
	assert_true(listens(next));
	assert_false(listens(port));
	now = smtpd_gen_get(list);
	assert_int_equal(now->access.listeners.max_connections, 7);
	assert_int_equal(before->access.listeners.max_connections, 1000);
	smtpd_gen_unref(now);
	smtpd_gen_unref(before);
}

static void test_what_is_not_good_leaves_all_as_it_was(void **state)
{
	write_environment("PORT=$%u\n", 1);
	assert_string_equal(asked("a", GA_SMTP_SERVICE_RESTART), "its settings are not good");
	assert_true(listens(port));
	write_environment("PORT=%u\n", other_port);
	assert_non_null(strstr(asked("a", GA_SMTP_SERVICE_RESTART), "said twice"));
	assert_true(listens(port));
	assert_string_equal(asked("c", GA_SMTP_SERVICE_TO_UP), "there is no such smtp_service");
	assert_int_equal(services->state("c"), GA_SMTP_SERVICE_DOWN);
}

static void test_without_listeners_it_is_disabled_not_down(void **state)
{
	write_environment("ENABLED=%u\n", 0);
	assert_string_equal(asked("a", GA_SMTP_SERVICE_RESTART), "");
	assert_int_equal(services->state("a"), GA_SMTP_SERVICE_DISABLED);
	assert_string_equal(smtpd_switch_word(list), "disabled");
	write_environment("ENABLED=%u\n", 1);
	assert_string_equal(asked("a", GA_SMTP_SERVICE_RESTART), "");
	assert_true(listens(port));
}

static void test_an_action_waits_while_a_reload_declares_listeners(void **state)
{
	static const enum ga_smtp_service_action actions[] = { GA_SMTP_SERVICE_RESTART, GA_SMTP_SERVICE_TO_DOWN };

	for (size_t i = 0; i < 2; i++) {
		struct ga_snapshot *next = load(port);

		assert_true(stage(next));
		ask("a", actions[i]);
		turn_main(200);
		assert_int_equal(act.done, 0);
		come_into_force(next);
		assert_string_equal(outcome(), "");
	}
	assert_false(listens(port));
}

/* --- helper threads that are busy --- */

#define JOBS 8				/* more than there are helper threads */
static struct gac_job jobs[JOBS];
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void wait_at_gate(struct gac_job *job)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
}

static void test_what_was_read_of_an_old_configuration_is_read_again(void **state)
{
	struct ga_snapshot *next;
	unsigned new_port = free_port();

	pthread_mutex_lock(&gate);
	for (size_t i = 0; i < JOBS; i++) {
		jobs[i].run = wait_at_gate;
		gac_helpers_run(&jobs[i]);
	}
	ask("a", GA_SMTP_SERVICE_RESTART);
	turn_main(50);
	next = load(new_port);
	assert_true(stage(next));
	come_into_force(next);
	pthread_mutex_unlock(&gate);
	assert_string_equal(outcome(), "");
	assert_true(listens(new_port));
	assert_false(listens(port));
}

static void test_a_reload_leaves_down_what_is_down(void **state)
{
	struct ga_snapshot *next = load(port);

	assert_string_equal(asked("a", GA_SMTP_SERVICE_TO_DOWN), "");
	assert_true(stage(next));
	come_into_force(next);
	assert_false(listens(port));
	assert_int_equal(services->state("a"), GA_SMTP_SERVICE_DOWN);
	assert_string_equal(asked("a", GA_SMTP_SERVICE_TO_UP), "");
	assert_true(listens(port));
}

static void test_a_marked_service_begins_down_and_unbound(void **state)
{
	char blocks[200];
	struct ga_snapshot *next;

	/* the address is that of another service */
	snprintf(blocks, sizeof blocks, "smtp_service a {\nlisten 127.0.0.1:%u\n}\n"
	    "smtp_service marked {\nlisten 127.0.0.1:%u\n}\n", port, port);
	next = world_load(blocks);
	assert_true(stage(next));
	come_into_force(next);
	assert_int_equal(services->state("marked"), GA_SMTP_SERVICE_DOWN);
	assert_int_equal(services->state("b"), GA_SMTP_SERVICE_DOWN);
	assert_false(listens(other_port));
	assert_non_null(strstr(asked("marked", GA_SMTP_SERVICE_TO_UP), "said twice"));
}

static void collect(const char *name, void *arg)
{
	strcat(arg, name);
}

static unsigned told;

static void changed(void *arg)
{
	told++;
}

static void test_a_watcher_is_told_once_and_finds_the_names_in_order(void **state)
{
	char found[16] = "";

	services->watch(changed, NULL);
	smtpd_switch_changed();
	smtpd_switch_changed();
	turn_main(20);
	assert_int_equal(told, 1);
	services->watch(NULL, NULL);
	smtpd_switch_changed();
	turn_main(20);
	assert_int_equal(told, 1);
	services->names(collect, found);
	assert_string_equal(found, "ab");
}

static void test_a_daemon_that_stops_changes_nothing(void **state)
{
	gac_listen_close_all();
	assert_string_equal(asked("a", GA_SMTP_SERVICE_RESTART), "the daemon is stopping");
	assert_int_equal(gac_holds(NULL, NULL, NULL), 0);
}

static int begin_all(void **state)
{
	gac_loops_init(1);
	gac_loops_start(NULL);
	inst = gac_inst_new(&code, NULL);
	ga_service_provide(inst, GA_DOWN_MARKS_SERVICE, GA_DOWN_MARKS_VERSION, &marks);
	smtpd_switch_init(inst, &list, accepted, accepted);
	services = ga_service_get(GA_SMTP_SERVICES_SERVICE, GA_SMTP_SERVICES_VERSION);
	return services == NULL;
}

static int end_all(void **state)
{
	gac_loops_stop(NULL);
	gac_helpers_stop();
	gac_inst_free(inst);
	gac_loops_free();
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_service_goes_down_and_comes_up_and_the_other_stays),
		TEST(test_a_restart_goes_by_the_files_of_now),
		TEST(test_what_is_not_good_leaves_all_as_it_was),
		TEST(test_without_listeners_it_is_disabled_not_down),
		TEST(test_an_action_waits_while_a_reload_declares_listeners),
		TEST(test_what_was_read_of_an_old_configuration_is_read_again),
		TEST(test_a_reload_leaves_down_what_is_down),
		TEST(test_a_marked_service_begins_down_and_unbound),
		TEST(test_a_watcher_is_told_once_and_finds_the_names_in_order),
		TEST(test_a_daemon_that_stops_changes_nothing),
	};

	return cmocka_run_group_tests_name("one smtp_service", tests, begin_all, end_all);
}
