/*
 * sink_store.c - what the sink keeps of a message that it is about to accept.
 *
 * Called by sink_session.c after the end of DATA and before the 250 is put into
 * the output, so that whatever the sender believes delivered is in the log: that
 * order is what loss and duplicates are counted by.  One write(2) a message to
 * the ids log; with --dump two new files a message.  Nothing is synced: the log
 * survives a kill of any process, not a power cut.
 *
 * A log that cannot be written makes every count worthless, so that ends the
 * program.
 */
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID_MAX 128

static void
cannot(const char *what, const char *name)
{
	fprintf(stderr, "ga_smtp_sink: %s %s: %s\n", what, name, strerror(errno));
	exit(1);
}

void
sink_store_open(struct sink *k)
{
	k->ids_fd = -1;
	if (k->opt.ids_log) {
		k->ids_fd = open(k->opt.ids_log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (k->ids_fd < 0)
			cannot("open", k->opt.ids_log);
	}
	if (k->opt.dump && mkdir(k->opt.dump, 0755) < 0 && errno != EEXIST)
		cannot("mkdir", k->opt.dump);
}

/* "ID RECIPIENT" for each recipient, in one write. */
static void
log_ids(struct sink_session *s, const char *id)
{
	const char *rcpt = s->rcpts.text, *end = rcpt + s->rcpts.len;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		abort();
	for (; rcpt < end; rcpt += strlen(rcpt) + 1)
		fprintf(f, "%s %s\n", id, rcpt);
	if (fclose(f))
		abort();
	if (write(s->sink->ids_fd, text, len) != (ssize_t)len)
		cannot("write", s->sink->opt.ids_log);
	free(text);
}

static void
write_file(const char *dir, uint64_t number, const char *suffix, const void *data, size_t len)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof path, "%s/%08" PRIu64 ".%s", dir, number, suffix);
	f = fopen(path, "w");
	if (!f || fwrite(data, 1, len, f) != len || fclose(f))
		cannot("write", path);
}

static char *
envelope_json(struct sink_session *s, const char *id)
{
	json_object *env = json_object_new_object(), *to = json_object_new_array();
	const char *rcpt = s->rcpts.text, *end = rcpt + s->rcpts.len;
	char *text;

	json_object_object_add(env, "id", json_object_new_string(id));
	json_object_object_add(env, "client", json_object_new_string(s->peer));
	json_object_object_add(env, "server", json_object_new_string(s->listener->name));
	json_object_object_add(env, "tls", json_object_new_boolean(s->w.tls != NULL));
	json_object_object_add(env, "helo", json_object_new_string(s->helo ? s->helo : ""));
	json_object_object_add(env, "mail", json_object_new_string(s->mail));
	for (; rcpt < end; rcpt += strlen(rcpt) + 1)
		json_object_array_add(to, json_object_new_string(rcpt));
	json_object_object_add(env, "rcpt", to);
	text = strdup(json_object_to_json_string_ext(env, JSON_C_TO_STRING_PRETTY |
		JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(env);
	return text;
}

/* The envelope comes last: where NUMBER.json is, NUMBER.eml is complete. */
static void
dump(struct sink_session *s, const char *id)
{
	uint64_t number = s->sink->n.messages;
	char *env = envelope_json(s, id);

	if (!env)
		abort();
	write_file(s->sink->opt.dump, number, "eml", s->data.kept, s->data.kept_len);
	write_file(s->sink->opt.dump, number, "json", env, strlen(env));
	free(env);
}

void
sink_store(struct sink_session *s)
{
	char id[ID_MAX];

	if (s->sink->ids_fd < 0 && !s->sink->opt.dump)
		return;
	sink_data_id(&s->data, id, sizeof id);
	if (s->sink->opt.dump)
		dump(s, id);
	if (s->sink->ids_fd >= 0)
		log_ids(s, id);
}
