/*
 * test_control.c - the control socket: both halves, over a real socket.
 *
 * The server runs on the main loop, as in the daemon; each test's client runs in a
 * thread beside it and ends the loop when it has seen enough.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "control/client.h"
#include "control/server.h"
#include "loop/loop.h"

static char folder[] = "/tmp/test_control.XXXXXX";
static char path[64];

/* Checks of a client's thread: cmocka's may only be used on the main one. */
static char trouble[300];
#define CHECK(what) do {								\
	if (!(what) && trouble[0] == '\0')						\
		snprintf(trouble, sizeof trouble, "line %d: %s", __LINE__, #what);	\
} while (0)

/* --- commands of the test --- */

static struct ga_control_call *kept;
static unsigned parts_taken, gone_seen;

static void
echo(struct ga_control_call *call, struct json_object *args, void *arg)
{
	struct json_object *o = json_object_new_object();

	assert_ptr_equal(arg, path);
	json_object_object_add(o, "args", json_object_get(args));
	ga_control_reply(call, o);
}

static void
refuse(struct ga_control_call *call, struct json_object *args, void *arg)
{
	(void)args;
	(void)arg;
	ga_control_error(call, "refused", "not %s", "today");
}

static void
stream(struct ga_control_call *call, struct json_object *args, void *arg)
{
	(void)args;
	(void)arg;
	for (int i = 0; i < 3; i++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "i", json_object_new_int(i));
		ga_control_part(call, o);
	}
	ga_control_reply(call, NULL);
}

/* Answers until the client is slow, or gone. */
static void
flood(struct ga_control_call *call, struct json_object *args, void *arg)
{
	static char text[10000];
	struct json_object *o;

	(void)args;
	(void)arg;
	memset(text, 'x', sizeof text - 1);
	do {
		o = json_object_new_object();
		json_object_object_add(o, "text", json_object_new_string(text));
		parts_taken++;
	} while (ga_control_part(call, o) && parts_taken < 100000);
	ga_control_reply(call, NULL);
}

/* Answered by answer_kept(). */
static void
keep(struct ga_control_call *call, struct json_object *args, void *arg)
{
	(void)args;
	(void)arg;
	kept = call;
}

static void
answer_kept(struct ga_control_call *call, struct json_object *args, void *arg)
{
	(void)args;
	(void)arg;
	gone_seen += ga_control_gone(kept);
	ga_control_reply(kept, NULL);
	kept = NULL;
	ga_control_reply(call, NULL);
}

/* --- fixture --- */

static int
up(void **state)
{
	char err[200];

	(void)state;
	trouble[0] = '\0';
	parts_taken = gone_seen = 0;
	gac_loops_init(1);
	assert_true(gac_control_start(path, (gid_t)-1, err, sizeof err));
	ga_control_register(NULL, "echo", "says it again", echo, path);
	ga_control_register(NULL, "refuse", "refuses", refuse, NULL);
	ga_control_register(NULL, "stream", "three answers", stream, NULL);
	ga_control_register(NULL, "flood", "many answers", flood, NULL);
	ga_control_register(NULL, "keep", "answers later", keep, NULL);
	ga_control_register(NULL, "answer_kept", "now", answer_kept, NULL);
	return 0;
}

static int
down(void **state)
{
	(void)state;
	gac_control_stop();
	gac_loops_free();
	return access(path, F_OK) == 0;		/* the socket has to be gone */
}

static void
end_loop(struct ga_worker *w, struct ga_post *post)
{
	(void)w;
	(void)post;
	gac_main_break();
}

static void *
client_thread(void *client)
{
	static struct ga_post end;
	void (*fn)(void);

	memcpy(&fn, client, sizeof fn);
	fn();
	end.fn = end_loop;
	ga_loop_post(ga_worker_main(), &end);
	return NULL;
}

static void
with_client(void (*fn)(void))
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, client_thread, &fn), 0);
	gac_main_run();
	pthread_join(thread, NULL);
	if (trouble[0] != '\0')
		fail_msg("%s", trouble);
}

/* --- the client half --- */

static void
call_and_read(void)
{
	struct json_object *args = json_object_new_object(), *o = NULL, *m = NULL;
	char *err = NULL;

	json_object_object_add(args, "to", json_object_new_string("<b@r.example> \"\xc3\xa9\"\n"));
	CHECK(gac_control_call(path, "echo", args, &o, &err) == 0 && err == NULL);
	CHECK(json_object_object_get_ex(o, "args", &m) && json_object_object_get_ex(m, "to", &m));
	CHECK(m != NULL && strcmp(json_object_get_string(m), "<b@r.example> \"\xc3\xa9\"\n") == 0);
	json_object_put(o);
	o = NULL;
	CHECK(gac_control_call(path, "refuse", NULL, &o, &err) != 0 && err != NULL && strcmp(err, "not today") == 0);
	free(err);
	err = NULL;
	CHECK(gac_control_call(path, "nonsense", NULL, &o, &err) != 0 && err != NULL &&
	    strcmp(err, "unknown command \"nonsense\" (is its module loaded?)") == 0);
	free(err);
}

static void
test_a_command_gets_its_arguments_and_one_answer(void **state)
{
	(void)state;
	with_client(call_and_read);
}

static void
read_stream(void)
{
	char *err = NULL;
	struct gac_control *c = gac_control_open(path, &err);
	struct json_object *o, *m;

	CHECK(c != NULL && gac_control_send(c, "stream", NULL, &err) == 0);
	for (int i = 0; i < 3; i++) {
		o = m = NULL;
		CHECK(gac_control_next(c, &o, &err) == 1);
		CHECK(o != NULL && json_object_object_get_ex(o, "i", &m) && json_object_get_int(m) == i);
		json_object_put(o);
	}
	CHECK(gac_control_next(c, &o, &err) == 2);
	json_object_put(o);
	/* the connection serves another command after it */
	CHECK(gac_control_send(c, "echo", NULL, &err) == 0 && gac_control_next(c, &o, &err) == 1);
	json_object_put(o);
	gac_control_close(c);
}

static void
test_a_stream_has_many_answers_and_an_end(void **state)
{
	(void)state;
	with_client(read_stream);
}

static void
test_without_a_daemon_the_client_says_so(void **state)
{
	struct json_object *o = NULL;
	char *err = NULL, other[100];

	(void)state;
	snprintf(other, sizeof other, "%s/other.sock", folder);
	assert_int_equal(gac_control_call(other, "echo", NULL, &o, &err), -1);
	assert_non_null(strstr(err, "greenarrowd is not running"));
	free(err);
}

/* --- what is wrong with requests --- */

static int
connected(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	CHECK(connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0);
	return fd;
}

/* Everything that comes until the server closes, or `lines` lines. */
static void
read_lines(int fd, unsigned lines, char *to, size_t room)
{
	size_t n = 0;

	while (lines > 0 && n + 1 < room && read(fd, to + n, 1) == 1)
		if (to[n++] == '\n')
			lines--;
	to[n] = '\0';
}

static void
say(int fd, const char *text)
{
	size_t n = strlen(text);

	CHECK(write(fd, text, n) == (ssize_t)n);
}

static void
bad_requests(void)
{
	char text[1000];
	int fd = connected();

	say(fd, "{\"v\":1,\"id\":3}\n{\"v\":2,\"id\":4,\"cmd\":\"echo\"}\n{\"v\":1,\"id\":5,\"cmd\":\"echo\",\"args\":[1]}\n\n");
	read_lines(fd, 3, text, sizeof text);
	CHECK(strcmp(text, "{\"id\":3,\"ok\":false,\"error\":{\"code\":\"syntax\",\"message\":\"no \\\"cmd\\\"\"}}\n"
	    "{\"id\":4,\"ok\":false,\"error\":{\"code\":\"version\",\"message\":\"expected \\\"v\\\":1\"}}\n"
	    "{\"id\":5,\"ok\":true,\"args\":{}}\n") == 0);
	say(fd, "what?\n{\"v\":1,\"id\":6,\"cmd\":\"echo\"}\n");
	read_lines(fd, 9, text, sizeof text);	/* to the end: it is closed */
	CHECK(strcmp(text, "{\"id\":0,\"ok\":false,\"error\":{\"code\":\"syntax\",\"message\":\"not a JSON object\"}}\n") == 0);
	close(fd);
}

static void
test_a_bad_request_gets_one_error_and_what_is_no_json_ends_the_session(void **state)
{
	(void)state;
	with_client(bad_requests);
}

static void
endless_line(void)
{
	static char block[65536];
	char text[200];
	int fd = connected();
	size_t sent = 0;

	memset(block, 'x', sizeof block);
	while (sent < (2u << 20)) {
		ssize_t n = send(fd, block, sizeof block, MSG_NOSIGNAL);

		if (n < 0)
			break;		/* closed on us: as it has to be */
		sent += (size_t)n;
	}
	read_lines(fd, 1, text, sizeof text);
	CHECK(text[0] == '\0' || strstr(text, "too_long") != NULL);
	close(fd);
	/* others go on */
	fd = connected();
	say(fd, "{\"v\":1,\"id\":1,\"cmd\":\"echo\"}\n");
	read_lines(fd, 1, text, sizeof text);
	CHECK(strstr(text, "\"ok\":true") != NULL);
	close(fd);
}

static void
test_a_line_without_an_end_harms_nobody_else(void **state)
{
	(void)state;
	with_client(endless_line);
}

static void
does_not_read(void)
{
	char text[200];
	int slow = connected(), fd = connected();

	say(slow, "{\"v\":1,\"id\":1,\"cmd\":\"flood\"}\n");
	usleep(200000);
	say(fd, "{\"v\":1,\"id\":2,\"cmd\":\"echo\"}\n");
	read_lines(fd, 1, text, sizeof text);
	CHECK(strstr(text, "\"id\":2") != NULL);
	close(slow);
	close(fd);
}

static void
test_a_client_that_does_not_read_is_not_read_to(void **state)
{
	(void)state;
	with_client(does_not_read);
	assert_in_range(parts_taken, 1, 1000);	/* about 1 MiB and what the socket takes */
}

static void
goes_away(void)
{
	char text[200];
	int fd = connected();

	say(fd, "{\"v\":1,\"id\":1,\"cmd\":\"keep\"}\n");
	usleep(100000);
	close(fd);
	usleep(100000);
	fd = connected();
	say(fd, "{\"v\":1,\"id\":2,\"cmd\":\"answer_kept\"}\n");
	read_lines(fd, 1, text, sizeof text);
	CHECK(strcmp(text, "{\"id\":2,\"ok\":true}\n") == 0);
	close(fd);
}

static void
test_a_command_whose_client_has_gone_is_told_and_may_answer(void **state)
{
	(void)state;
	with_client(goes_away);
	assert_int_equal(gone_seen, 1);
}

static clock_t cpu_used;

static void
comes_without_descriptors(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), free_fd = dup(fd);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct rlimit before, low;
	char text[200];

	close(free_fd);
	CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
	low = before;
	low.rlim_cur = (rlim_t)free_fd;
	CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	CHECK(connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0);
	cpu_used = clock();
	usleep(500000);
	cpu_used = clock() - cpu_used;
	CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
	say(fd, "{\"v\":1,\"id\":2,\"cmd\":\"echo\"}\n");
	read_lines(fd, 1, text, sizeof text);
	CHECK(strstr(text, "\"id\":2") != NULL);
	close(fd);
}

static void
test_without_descriptors_the_loop_rests_and_clients_wait(void **state)
{
	(void)state;
	with_client(comes_without_descriptors);
	assert_true(cpu_used < CLOCKS_PER_SEC / 10);
}

/* --- the socket itself --- */

static void
test_a_second_server_is_refused_and_a_dead_socket_is_replaced(void **state)
{
	struct stat st;
	char err[200];

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_false(gac_control_start(path, (gid_t)-1, err, sizeof err));
	assert_non_null(strstr(err, "another greenarrowd is running"));
	gac_control_stop();
	/* one that a killed daemon left */
	assert_true(gac_control_start(path, (gid_t)-1, err, sizeof err));
}

static void
test_a_path_too_long_for_a_socket_is_told(void **state)
{
	char longest[300], err[400];

	(void)state;
	memset(longest, 'x', sizeof longest - 1);
	longest[0] = '/';
	longest[sizeof longest - 1] = '\0';
	assert_false(gac_control_start(longest, (gid_t)-1, err, sizeof err));
	assert_non_null(strstr(err, "has at most"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_command_gets_its_arguments_and_one_answer),
		T(test_a_stream_has_many_answers_and_an_end),
		T(test_without_a_daemon_the_client_says_so),
		T(test_a_bad_request_gets_one_error_and_what_is_no_json_ends_the_session),
		T(test_a_line_without_an_end_harms_nobody_else),
		T(test_a_client_that_does_not_read_is_not_read_to),
		T(test_a_command_whose_client_has_gone_is_told_and_may_answer),
		T(test_without_descriptors_the_loop_rests_and_clients_wait),
		T(test_a_second_server_is_refused_and_a_dead_socket_is_replaced),
		T(test_a_path_too_long_for_a_socket_is_told),
	};
	int failed;

	if (mkdtemp(folder) == NULL)
		return 99;
	snprintf(path, sizeof path, "%s/control.sock", folder);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}
