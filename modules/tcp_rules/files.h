/*
 * files.h - the databases that services name, each as it is now.
 *
 * A file is known by its path and stays known as long as the process.  A thread watches them:
 * when one is replaced the new one is read, checked and put in force; when that cannot be, the
 * one before stays.
 */
#ifndef TCPR_FILES_H
#define TCPR_FILES_H

#include <greenarrow/ga_log.h>

#include "database.h"

struct tcpr_files;

/* Begins to watch, with a thread.  NULL: told. */
struct tcpr_files *tcpr_files_new(struct ga_inst *) GA_NODISCARD;
void tcpr_files_free(struct tcpr_files *);	/* NULL: nothing */

/* The database of a file of rules, by the name in greenarrow.conf: PATH.cdb, or PATH if it ends so. */
struct ga_str tcpr_database_path(struct ga_pool *, struct ga_str rules);

/* Makes a file known, if it is not, and looks for it anew.  Main thread or loop; blocks.  False: there is no
 * database that could be in force, and *why says why. */
bool tcpr_files_take(struct tcpr_files *, const char *database, const char **why);
/* What is in force, with a reference for the caller; NULL: not known.  Any thread. */
struct tcpr_db *tcpr_files_get(struct tcpr_files *, struct ga_str database) GA_NODISCARD;

#endif
