/*
 * test_tcp_rules.c - the module: what connect answers and sets, and databases that change.
 *
 * On the test bed; the thread that watches files is the real one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define GA_LEVEL GA_ABI_STRICT
#include <greenarrow/run.h>

#include "../files.h"
#include "bed.h"
#include "make.h"

extern const struct ga_module tcp_rules_LTX_ga_module;

/* smtp_service blocks need somebody who declares what stands in them. */
#define SERVICES_DIRECTIVES(X) X(list, listen, "", "", "smtp_service", "ignored")
GA_CONF_STRUCT(services_conf, SERVICES_DIRECTIVES);
#define GA_CF_SELF_ struct services_conf
GA_CONF_SCHEMA(services_conf, SERVICES_DIRECTIVES);

static struct ga_inst *services_inst;

static bool
services_init(struct ga_inst *inst, const void *c)
{
	services_inst = inst;
	return true;
}

GA_MODULE(services, "1.0.0", "smtp_service", GA_NO_HOOKS, SERVICES_DIRECTIVES, .summary = "services of the test",
    .conf = &services_conf_schema, .init = services_init);

static const struct ga_module *const modules[] = { &services_LTX_ga_module, &tcp_rules_LTX_ga_module, NULL };

static char folder[] = "/tmp/ga-tcp_rules-XXXXXX", database[60], conf[200];
static struct ga_reply reply;

/* The variable A of the session of a client, "unset", or the reply that it was turned away with. */
static const char *
client(const char *ip, bool unnamed)
{
	static char said[100];
	struct ga_snapshot *s = ga_snapshot_current();
	const struct ga_object *block = ga_object_find(s, "smtp_service", GA_STR("test"));
	const struct ga_settings *settings = ga_snapshot_object(s, block);
	struct ga_session *session = ga_session_new(ga_worker_get(0), settings);
	struct ga_run run = { .worker = ga_worker_get(0), .settings = settings, .session = session };
	struct ga_ev_connect ev = { .s = session, .peer.text = ga_str_c(ip), .service = GA_STR("test"), .unnamed = unnamed };
	struct ga_str value = GA_STR("unset");
	enum ga_verdict v;

	ga_session_variable_set(session, GA_STR("B"), GA_STR("before"));
	v = ga_run_hook(&run, GA_HOOK_connect, &ev);
	reply = run.reply;
	ga_session_variable(session, GA_STR("A"), &value);
	snprintf(said, sizeof said, "%.*s%s", (int)value.n, value.p,
	    ga_session_variable(session, GA_STR("B"), NULL) ? "" : ", B unset");
	if (v == GA_CLOSE)
		snprintf(said, sizeof said, "%u %s", run.reply.code, run.reply.enhanced);
	else
		assert_int_equal(v, GA_PASS);
	ga_session_free(session, GA_END_DONE);
	ga_snapshot_unref(s);
	return said;
}

static void
up(const struct row *rows)
{
	make_database(database, rows);
	bed_up(&(struct bed){ .conf = conf, .modules = modules });
}

static void
test_a_rule_lets_in_with_variables_or_turns_away(void **state)
{
	up((struct row[]){ { "127.", "+A=1|" }, { "10.", "+A=2|-B|" }, { "192.0.2.", "D|+A=3|" }, { "::1", "+A=|" }, { NULL, NULL } });
	assert_string_equal(client("127.0.0.1", false), "1");
	assert_string_equal(client("10.1.2.3", false), "2, B unset");
	assert_string_equal(client("192.0.2.7", false), "554 5.7.1");
	assert_string_equal(client("::1", false), "");
	assert_string_equal(client("198.51.100.1", false), "unset");
	bed_down();
}

static void
test_a_client_that_nobody_knows_has_none_of_the_rules_of_its_proxy(void **state)
{
	up((struct row[]){ { "127.0.0.1", "+A=1|" }, { "", "+A=all|" }, { NULL, NULL } });
	assert_string_equal(client("127.0.0.1", false), "1");
	assert_string_equal(client("127.0.0.1", true), "all");
	bed_down();
}

static void
wait_for(const char *value)
{
	for (int i = 0; i < 2000 && strcmp(client("127.0.0.1", false), value) != 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	assert_string_equal(client("127.0.0.1", false), value);
}

static void
test_a_new_database_is_in_force_without_a_reload(void **state)
{
	up((struct row[]){ { "127.", "+A=1|" }, { NULL, NULL } });
	assert_string_equal(client("127.0.0.1", false), "1");
	make_database(database, (struct row[]){ { "127.", "+A=2|" }, { NULL, NULL } });
	wait_for("2");
	make_database(database, (struct row[]){ { NULL, NULL } });
	wait_for("unset");
	bed_down();
}

/* What is in force after a look at the file: how many records, and what was wrong with it. */
static void
assert_in_force(struct tcpr_files *files, size_t records, const char *wrong)
{
	const char *why = NULL;
	struct tcpr_db *db;

	assert_true(tcpr_files_take(files, database, &why));
	assert_int_equal(why != NULL, wrong != NULL);
	if (wrong != NULL)
		assert_non_null(strstr(why, wrong));
	db = tcpr_files_get(files, ga_str_c(database));
	assert_non_null(db);
	assert_int_equal(tcpr_db_records(db), records);
	tcpr_db_unref(db);
}

static void
test_what_is_no_database_never_takes_the_place_of_one(void **state)
{
	struct tcpr_files *files;

	up((struct row[]){ { "127.", ALLOW }, { "", DENY }, { NULL, NULL } });
	files = tcpr_files_new(services_inst);
	assert_non_null(files);
	assert_in_force(files, 2, NULL);
	make_file(database, "no cdb", 6);
	assert_in_force(files, 2, "not a cdb");
	unlink(database);
	assert_in_force(files, 2, "No such file");
	make_database(database, (struct row[]){ { "127.", ALLOW }, { NULL, NULL } });
	assert_in_force(files, 1, NULL);
	assert_null(tcpr_files_get(files, GA_STR("/nowhere")));
	tcpr_files_free(files);
	bed_down();
}

static void
test_a_database_that_is_not_there_or_none_refuses_the_configuration(void **state)
{
	const struct bed bed = { .conf = conf, .modules = modules };

	unlink(database);
	assert_true(bed_refuses(&bed));
	make_file(database, "no cdb", 6);
	assert_true(bed_refuses(&bed));
	make_database(database, (struct row[]){ { NULL, NULL } });
	assert_false(bed_refuses(&bed));
}

static void
test_a_service_without_rules_asks_nobody(void **state)
{
	struct ga_snapshot *s;
	const struct ga_object *block;

	bed_up(&(struct bed){ .conf = "smtp_service test {\nlisten x\n}\n", .modules = modules });
	s = ga_snapshot_current();
	block = ga_object_find(s, "smtp_service", GA_STR("test"));
	assert_false(GA_WANTED(ga_settings_plan(ga_snapshot_object(s, block)), connect));
	ga_snapshot_unref(s);
	bed_down();
}

static int
setup(void **state)
{
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(database, sizeof database, "%s/a.tcp.cdb", folder);
	snprintf(conf, sizeof conf, "smtp_service test {\ntcp_rules %s/a.tcp\n}\n", folder);
	return 0;
}

static int
teardown(void **state)
{
	unlink(database);
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_rule_lets_in_with_variables_or_turns_away),
		cmocka_unit_test(test_a_client_that_nobody_knows_has_none_of_the_rules_of_its_proxy),
		cmocka_unit_test(test_a_new_database_is_in_force_without_a_reload),
		cmocka_unit_test(test_what_is_no_database_never_takes_the_place_of_one),
		cmocka_unit_test(test_a_database_that_is_not_there_or_none_refuses_the_configuration),
		cmocka_unit_test(test_a_service_without_rules_asks_nobody),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
