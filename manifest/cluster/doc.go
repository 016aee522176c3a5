// Package cluster reads what a site says about itself: Clusterfiles of every
// sealer version, plugin files, and the short form -m -n -u -p.
//
// It owns the parsing of the documents of kind Cluster, Config, Plugin,
// Application and of kubeadm's kinds, by kind and shape and not by API group;
// the selection of hosts; the precedence of variables; and the refusal of
// placeholders that nobody filled in.
//
// # Placeholders
//
// Published Clusterfiles hold words that a person is meant to replace:
// $MASTER_IP_1, $PASSWD, #DataDiskDeviceName#. [Options.Set] gives their
// values; one that is left is an error with file and line. What counts as one
// depends on the place:
//
//   - in a field, every $NAME, ${NAME} and #NAME#;
//   - in a password, only a value that is nothing else, with $NAME in upper
//     case: a password may hold a dollar;
//   - in shell text (the data of a SHELL plugin, commands), $MASTER_IP_n,
//     $WORKER_IP_n, $NODE_IP_n and $PASSWD (n is a number), unless the text
//     itself assigns the name or a variable of the cluster has it; and #NAME#
//     where it is a word or a part of one, not the two delimiters of a sed
//     expression. Lines of comment are passed over;
//   - in the content of files (the data of Config and Application), the same,
//     where nothing can be assigned.
//
// A value given for another $NAME is put in as well; in shell text only if the
// text does not assign the name. Values go into texts, never into structure:
// one that would change the shape of a YAML text, or that a shell would take
// for more than a word, is refused.
//
// The package never opens a connection, reads a file system or decides in
// which order things happen (that is install/plan).
package cluster
