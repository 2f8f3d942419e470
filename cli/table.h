/*
 * table.h - tables of what the daemon answers.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include <json-c/json.h>

#define TABLE_TEXT 320		/* a domain has 255 octets, a key a little more */
#define TABLE_CELLS 32		/* in one table, at most */

/* The text of one cell: of the member key of o. */
typedef void table_text_fn(struct json_object *o, const char *key, const struct timespec *now,
    char to[TABLE_TEXT]);
table_text_fn table_text_string, table_text_number, table_text_yes_no;

struct table_cell {
	const char *before;	/* what separates it from the cell to its left */
	const char *above;	/* first line of the heading, over this cell and those joined to it */
	const char *heading;
	int least;
	bool left;
	table_text_fn *text;
	const char *key;
};

/* A heading and a line for each object of the list (NULL: none); joined are cells that are
 * separated by something else than two blanks. */
void table_print(FILE *, const struct table_cell *, size_t ncells, struct json_object *list,
    const struct timespec *now);

#endif
