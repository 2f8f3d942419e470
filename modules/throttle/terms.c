/*
 * terms.c - what the settings say to a group, once for all groups of a loop to which they
 * say the same.
 *
 * A hundred thousand groups have a dozen rules and programs between them: what is written
 * is kept here, found by its content, and a group has one pointer to it.  A group keeps the
 * terms of the snapshot that its mail last met: that snapshot may have gone since, so
 * nothing here points into one.
 *
 * All on the loop whose terms they are.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "throttle.h"

struct thr_terms thr_no_terms = { .domains = "" };

/* --- the domains of a rule --- */

static bool
is_rule(const struct ga_object *o)
{
	return o != NULL && (strcmp(ga_object_context(o), "domain") == 0 ||
	    strcmp(ga_object_context(o), "rule") == 0);
}

/* The block that makes these settings a rule of their own, NULL: none. */
static const struct ga_object *
rule_of(const struct ga_settings *settings)
{
	static const char *const fields[] = { "max_concurrent_connections", "max_delivery_rate",
		"max_connection_rate" };

	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		const struct ga_object *o = ga_settings_source(settings, "throttle", fields[i]);

		if (is_rule(o))
			return o;
	}
	return NULL;
}

static size_t
joined_length(struct ga_strlist list)
{
	size_t n = 0;

	for (size_t i = 0; i < list.n; i++)
		n += list.v[i].n + (i > 0 ? 2 : 0);
	return n;
}

/* to: joined_length() + 1 octets. */
static void
join(char *to, struct ga_strlist list)
{
	for (size_t i = 0; i < list.n; i++)
		to += sprintf(to, "%s%.*s", i > 0 ? ", " : "", (int)list.v[i].n, list.v[i].p);
}

/* --- from settings --- */

/* Terms are found by what they are made of from here on, as it lies in memory: all of it is
 * 0 before, and fields are set one by one, so that padding is 0 too. */
#define CONTENT offsetof(struct thr_terms, written)

static void
take_plan(struct thr_plan *to, const struct throttle_conf *c, uint64_t return_ms)
{
	ga_conf_amount(c->backoff_max_concurrent_connections, &to->connections);
	ga_conf_amount(c->backoff_max_delivery_rate, &to->rate);
	to->return_ms = return_ms;
}

static void
take_program(struct thr_program *to, const struct throttle_conf *c)
{
	to->failure_rate = c->failure_rate;
	to->deferral_rate = c->deferral_rate;
	to->window_us = c->window * 1000;
	to->interval_ms = c->recovery_interval;
	to->minimum = (uint32_t)c->minimum_sample;
	to->gradual = c->recovery == 1;
}

static void
note_rate(char text[THR_WRITTEN_TEXT], const struct ga_rate *rate)
{
	snprintf(text, THR_WRITTEN_TEXT, "%.*s", (int)rate->text.n, rate->text.p);
}

static const struct throttle_conf *
program_of(const struct ga_settings *settings, const struct throttle_conf *c)
{
	struct ga_snapshot *snap = ga_settings_snapshot(settings);
	const struct ga_object *o = c->throttle_program.n == 0 ? NULL :
	    ga_object_find(snap, "throttle_program", c->throttle_program);

	return o == NULL ? NULL : ga_settings_conf(ga_snapshot_object(snap, o), "throttle");
}

static struct thr_terms *
new_terms(const struct ga_settings *settings, struct ga_strlist domains)
{
	const struct throttle_conf *c = ga_settings_conf(settings, "throttle");
	const struct throttle_conf *program = program_of(settings, c);
	struct thr_terms *t = ga_xcalloc(1, sizeof *t + joined_length(domains) + 1);

	t->written.connections = (unsigned)c->max_concurrent_connections;
	t->written.rate = c->max_delivery_rate.per_second;
	t->dial_rate = c->max_connection_rate.per_second;
	t->burst = (uint64_t)c->max_delivery_burst;
	if (program != NULL) {
		take_plan(&t->plan, program, program->return_after);
		take_program(&t->program, program);
		t->has_program = true;
	} else {
		take_plan(&t->plan, c, c->backoff_return_after);
	}
	note_rate(t->texts.deliveries, &c->max_delivery_rate);
	note_rate(t->texts.dials, &c->max_connection_rate);
	join(t->behind, domains);
	t->domains = t->behind;
	return t;
}

/* --- in the table --- */

static struct thr_terms *
shared(struct thr_loop *l, struct thr_terms *made)
{
	size_t n = offsetof(struct thr_terms, behind) + strlen(made->behind) + 1 - CONTENT;
	struct thr_terms *t;

	HASH_FIND(hh, l->terms, &made->written, n, t);
	if (t != NULL) {
		free(made);
		t->refs++;
		return t;
	}
	made->refs = 1;
	HASH_ADD_KEYPTR(hh, l->terms, &made->written, n, made);
	return made;
}

void
thr_terms_unref(struct thr_loop *l, struct thr_terms *t)
{
	if (t == &thr_no_terms || --t->refs > 0)
		return;
	if (l != NULL)
		HASH_DEL(l->terms, t);
	free(t);
}

void
thr_terms_take(struct ga_group *g, const struct ga_settings *settings)
{
	struct thr_loop *l = thr_loop(g->home);
	const struct ga_object *rule = strncmp(g->key, "ip", 2) == 0 ? rule_of(settings) : NULL;
	const struct ga_strlist none = { NULL, 0 };
	struct thr_terms *old = g->terms;

	g->terms = shared(l, new_terms(settings, rule != NULL ? ga_object_patterns(rule) : none));
	thr_terms_unref(l, old);
}
