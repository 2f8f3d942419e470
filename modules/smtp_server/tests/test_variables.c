/*
 * test_variables.c - variables of a session: where they come from and what they do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dialogue.h"

/* What connect saw: "192.0.2.7 A=1 B=", and "unnamed" in place of an address. */
static char seen[200];
static unsigned asked;
/* What it sets: NAME, value, NAME, value, ... NULL. */
static const char *const *sets;

static void
note(const char *name, bool there, struct ga_str value)
{
	size_t n = strlen(seen);

	if (there)
		snprintf(seen + n, sizeof seen - n, " %s=%.*s", name, (int)value.n, value.p);
}

static enum ga_verdict
see_connect(struct ga_call *c, const struct ga_ev_connect *ev)
{
	struct ga_str value;

	assert_ptr_equal(ga_call_session(c), ev->s);
	asked++;
	snprintf(seen, sizeof seen, "%.*s", ev->unnamed ? 7 : (int)ev->peer.text.n,
	    ev->unnamed ? "unnamed" : ev->peer.text.p);
	for (const char *const *name = (const char *const []){ "A", "B", "C", NULL }; *name != NULL; name++)
		note(*name, ga_session_variable(ev->s, ga_str_c(*name), &value), value);
	for (size_t i = 0; sets != NULL && sets[i] != NULL; i += 2)
		ga_session_variable_set(ev->s, ga_str_c(sets[i]), ga_str_c(sets[i + 1]));
	return GA_PASS;
}

/* A world whose service has that environment_file; nobody has connected. */
static struct world *
with_environment(const char *statements, const char *environment)
{
	char path[] = "/tmp/ga-env-XXXXXX", text[300];
	int fd = mkstemp(path);
	struct world *w;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, environment, strlen(environment)), strlen(environment));
	close(fd);
	snprintf(text, sizeof text, "%senvironment_file %s\n", statements, path);
	w = world_new(text);
	unlink(path);
	w->relays = false;
	seen[0] = '\0';
	asked = 0;
	sets = NULL;
	world_hook(w, GA_HOOK_connect, (void (*)(void))see_connect);
	return w;
}

static void
end(struct world *w)
{
	world_disconnect(w);
	world_free(w);
}

/* --- where they come from --- */

static void
test_connect_sees_what_the_environment_exports(void **state)
{
	struct world *w = with_environment("", "export A=1\nexport B=\nC=3\nexport A=2\n");

	world_connect(w);
	expect(w, "", "220 test\r\n");
	assert_string_equal(seen, "192.0.2.1 A=2 B=");
	end(w);
}

static void
test_connect_is_asked_about_the_client_behind_a_proxy(void **state)
{
	struct world *w = with_environment("incoming_smtp_accept_proxy_protocol 192.0.2.1\n", "export A=1\n");

	w->proxied = true;
	world_connect(w);
	assert_int_equal(asked, 0);
	expect(w, "PROXY TCP4 192.0.2.7 192.0.2.2 4711 25\r\n", "220 test\r\n");
	assert_string_equal(seen, "192.0.2.7 A=1");
	world_disconnect(w);
	world_connect(w);
	expect(w, "PROXY UNKNOWN\r\n", "220 test\r\n");
	assert_string_equal(seen, "unnamed A=1");
	assert_int_equal(asked, 2);
	end(w);
}

static void
test_another_client_has_none_of_the_variables_of_the_one_before(void **state)
{
	static const char *const first[] = { "A", "9", "C", "", NULL };
	struct world *w = with_environment("xclient_from 192.0.2.1\n", "export A=1\n");

	sets = first;
	world_connect(w);
	expect(w, HELLO, "220 test\r\n250-");
	sets = NULL;
	expect(w, "XCLIENT ADDR=192.0.2.7\r\n", "220 test\r\n");
	assert_string_equal(seen, "192.0.2.7 A=1");
	expect(w, "XCLIENT ADDR=[UNAVAILABLE]\r\n", "220 test\r\n");
	assert_string_equal(seen, "unnamed A=1");
	assert_int_equal(asked, 3);
	end(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect_sees_what_the_environment_exports),
		cmocka_unit_test(test_connect_is_asked_about_the_client_behind_a_proxy),
		cmocka_unit_test(test_another_client_has_none_of_the_variables_of_the_one_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
