/*
 * client.c - asks the daemon something, for the CLI.
 *
 * Blocking; used by programs, never by the daemon.  An error answer of the
 * daemon and an error on the way both end as one sentence.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/client.h"

struct gac_control {
	int fd;
	char *buf;
	size_t n, room, scanned;
};

static void
fail(char **err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(err, fmt, ap) < 0)
		*err = NULL;
	va_end(ap);
}

struct gac_control *
gac_control_open(const char *path, char **err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct gac_control *c;
	int fd;

	if (strlen(path) >= sizeof addr.sun_path) {
		fail(err, "%s: path too long for a socket", path);
		return NULL;
	}
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			fail(err, "greenarrowd is not running (%s: %s)", path, strerror(errno));
		else
			fail(err, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	c = calloc(1, sizeof *c);
	if (c == NULL) {
		close(fd);
		fail(err, "out of memory");
		return NULL;
	}
	c->fd = fd;
	return c;
}

void
gac_control_close(struct gac_control *c)
{
	if (c == NULL)
		return;
	close(c->fd);
	free(c->buf);
	free(c);
}

static int
send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -1;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

int
gac_control_send(struct gac_control *c, const char *cmd, struct json_object *args, char **err)
{
	struct json_object *o = json_object_new_object();
	const char *text;
	int result;

	json_object_object_add(o, "v", json_object_new_int(1));
	json_object_object_add(o, "id", json_object_new_int(1));
	json_object_object_add(o, "cmd", json_object_new_string(cmd));
	json_object_object_add(o, "args", args != NULL ? args : json_object_new_object());
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	result = send_all(c->fd, text, strlen(text)) != 0 || send_all(c->fd, "\n", 1) != 0 ? -1 : 0;
	if (result != 0)
		fail(err, "control socket: %s", strerror(errno));
	json_object_put(o);
	return result;
}

/* 1: a line is at the front of buf, *len octets without its LF. */
static int
read_line(struct gac_control *c, size_t *len, char **err)
{
	for (;;) {
		char *lf = c->n > c->scanned ?
		    memchr(c->buf + c->scanned, '\n', c->n - c->scanned) : NULL;
		ssize_t got;

		if (lf != NULL) {
			*len = (size_t)(lf - c->buf);
			return 1;
		}
		c->scanned = c->n;
		if (c->room - c->n < 16384) {
			size_t room = c->room > 0 ? c->room * 2 : 65536;
			char *more = realloc(c->buf, room);

			if (more == NULL) {
				fail(err, "out of memory");
				return -1;
			}
			c->buf = more;
			c->room = room;
		}
		got = recv(c->fd, c->buf + c->n, c->room - c->n, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			fail(err, "control socket: %s",
			    got == 0 ? "greenarrowd closed the connection" : strerror(errno));
			return -1;
		}
		c->n += (size_t)got;
	}
}

int
gac_control_next(struct gac_control *c, struct json_object **reply, char **err)
{
	struct json_object *o, *m, *text;
	struct json_tokener *tok;
	size_t len;

	if (read_line(c, &len, err) < 0)
		return -1;
	tok = json_tokener_new();
	o = json_tokener_parse_ex(tok, c->buf, (int)len);
	json_tokener_free(tok);
	memmove(c->buf, c->buf + len + 1, c->n - len - 1);
	c->n -= len + 1;
	c->scanned = 0;
	if (o == NULL || !json_object_object_get_ex(o, "ok", &m)) {
		fail(err, "control socket: an answer that is not JSON");
		json_object_put(o);
		return -1;
	}
	if (!json_object_get_boolean(m)) {
		text = NULL;
		if (json_object_object_get_ex(o, "error", &m))
			json_object_object_get_ex(m, "message", &text);
		fail(err, "%s", text != NULL ? json_object_get_string(text) : "refused");
		json_object_put(o);
		return -1;
	}
	*reply = o;
	return json_object_object_get_ex(o, "end", &m) ? 2 : 1;
}

int
gac_control_call(const char *socket_path, const char *cmd, struct json_object *args,
    struct json_object **reply, char **err)
{
	struct gac_control *c = gac_control_open(socket_path, err);
	int result = -1;

	if (c == NULL) {
		json_object_put(args);
		return -1;
	}
	if (gac_control_send(c, cmd, args, err) == 0 && gac_control_next(c, reply, err) > 0)
		result = 0;
	gac_control_close(c);
	return result;
}
