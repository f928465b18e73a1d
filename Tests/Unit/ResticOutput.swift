/// What restic 0.19.1 printed, byte for byte; long lists cut at their ends.
enum ResticOutput {
  static let status =
    #"{"message_type":"status","percent_done":1.3333329777778725e-7,"total_files":6,"files_done":1,"total_bytes":30000008,"bytes_done":4,"current_files":["/big"]}"#
  static let summary =
    #"{"message_type":"summary","files_new":6,"files_changed":0,"files_unmodified":0,"dirs_new":2,"dirs_changed":0,"dirs_unmodified":0,"data_blobs":24,"tree_blobs":3,"data_added":30004543,"data_added_packed":30004593,"total_files_processed":6,"total_bytes_processed":30000008,"total_duration":0.825602394,"backup_start":"2026-11-23T23:32:13.744917609Z","backup_end":"2026-11-23T23:32:14.570520022Z","snapshot_id":"d93db83b03a6d7e232415177f389b26e30b84f5e697fcb82ce335b547b7b65cf"}"#
  static let error =
    #"{"message_type":"error","error":{"message":"failed to save /stdin: Fatal: command failed: exit status 3"},"during":"archival","item":"/stdin"}"#
  static let dumpFailed =
    #"{"message_type":"exit_error","code":1,"message":"Fatal: unable to save snapshot: failed to save /stdin: Fatal: command failed: exit status 3"}"#
  static let wrongPassword = #"{"message_type":"exit_error","code":12,"message":"Fatal: wrong password or no key found"}"#
  static let missing =
    #"{"message_type":"exit_error","code":10,"message":"Fatal: repository does not exist: unable to open config file: stat /tmp/none/config: no such file or directory\nIs there a repository at the following location?\n/tmp/none"}"#
  static let initialized =
    #"{"message_type":"initialized","id":"9f23dcf4f180103ad762aadf994784608eb9933157b16cc7a6cb9e6f850751ad","repository":"/tmp/r"}"#
  static let restored = #"{"message_type":"summary","total_files":1,"files_restored":1,"total_bytes":3,"bytes_restored":3}"#

  static let tagged =
    #"{"time":"2026-11-23T23:32:13.744917609Z","tree":"7c2fd940041cb3f2c8400dbfe260f8972c1ade890408fcb0b57de39bc56eaf77","paths":["/tmp/s"],"hostname":"h1","username":"root","tags":["kind=set","set=20260101T000000Z","files=ab"],"program_version":"restic 0.19.1","summary":{"backup_start":"2026-11-23T23:32:13.744917609Z","backup_end":"2026-11-23T23:32:14.570520022Z","files_new":6,"files_changed":0,"files_unmodified":0,"dirs_new":2,"dirs_changed":0,"dirs_unmodified":0,"data_blobs":24,"tree_blobs":3,"data_added":30004543,"data_added_packed":30004593,"total_files_processed":6,"total_bytes_processed":30000008},"id":"d93db83b03a6d7e232415177f389b26e30b84f5e697fcb82ce335b547b7b65cf","short_id":"d93db83b"}"#
  static let untagged =
    #"{"time":"2026-11-24T05:02:14.613204672+05:30","tree":"73799bebe4984d3ba355bc6058851415daaf5a96f2c805f99ebea77b4b61db74","paths":["/tmp/s"],"hostname":"h2","username":"root","program_version":"restic 0.19.1","id":"0b32fa2fa48a691b999ae8a8bf0703ce78363433a7cc69a367864f78fe29e430","short_id":"0b32fa2f"}"#
  static let snapshots = "[\(tagged),\(untagged)]"
  static let forget =
    #"[{"tags":null,"host":"h1","paths":null,"keep":[\#(untagged)],"remove":[\#(tagged)],"reasons":[{"snapshot":\#(untagged),"matches":["last snapshot"]}]}]"#

  static let keys =
    #"[{"current":true,"id":"34ae0d388127e979a72d1fa519bc36378768e51e6627bc65273677847e2090a4","userName":"root","hostName":"vm","created":"2026-11-24 15:53:49"},{"current":false,"id":"83960690b377ceaf668a6070f1daa648b65b870b8403bd0f1f891a401bd95ba5","userName":"root","hostName":"vm","created":"2026-11-24 15:53:51"}]"#
  static let checked =
    #"{"message_type":"summary","num_errors":1,"broken_packs":["37971d2c0f0a2c4f3c1e0ef9a4b8ad26c4b0b0cbd1c9a0bbd6d2ef65d2d5a5f0"],"suggest_repair_index":false,"suggest_prune":false}"#

  static let listed =
    #"{"time":"2026-11-24T05:02:14.613204672+05:30","paths":["/tmp/s"],"hostname":"h2","id":"0b32fa2fa48a691b999ae8a8bf0703ce78363433a7cc69a367864f78fe29e430","short_id":"0b32fa2f","message_type":"snapshot","struct_type":"snapshot"}"#
  static let nodes = [
    #"{"name":"a","type":"file","path":"/a","uid":0,"gid":0,"size":3,"mode":420,"permissions":"-rw-r--r--","mtime":"2024-06-01T15:30:00+05:30","atime":"2024-06-01T15:30:00+05:30","ctime":"2026-11-24T05:02:11.158963851+05:30","inode":16335618,"message_type":"node","struct_type":"node"}"#,
    #"{"name":"bad\ufffd","type":"file","path":"/bad\ufffd","uid":0,"gid":0,"size":1,"mode":420,"permissions":"-rw-r--r--","mtime":"2026-11-24T05:02:11.153728286+05:30","inode":16335730,"message_type":"node","struct_type":"node"}"#,
    #"{"name":"d","type":"dir","path":"/d","uid":0,"gid":0,"mode":2148532735,"permissions":"dtrwxrwxrwx","mtime":"2026-11-24T05:02:11.146963851+05:30","inode":16335634,"message_type":"node","struct_type":"node"}"#,
    #"{"name":"setuid","type":"file","path":"/d/setuid","uid":0,"gid":0,"size":2,"mode":12583405,"permissions":"ugrwxr-xr-x","mtime":"2000-01-01T05:29:59.123456789+05:30","inode":16335650,"message_type":"node","struct_type":"node"}"#,
    #"{"name":"f","type":"fifo","path":"/f","uid":0,"gid":0,"mode":33554852,"permissions":"prw-r--r--","mtime":"2026-11-24T05:02:11.150963851+05:30","inode":16335682,"message_type":"node","struct_type":"node"}"#,
    #"{"name":"g","type":"dir","path":"/g","uid":0,"gid":0,"mode":2151678440,"permissions":"dgrwxr-x---","mtime":"2026-11-24T05:02:11.154963851+05:30","inode":16335746,"message_type":"node","struct_type":"node"}"#,
    #"{"name":"l","type":"symlink","path":"/l","uid":0,"gid":0,"mode":134218239,"permissions":"Lrwxrwxrwx","mtime":"2026-11-24T05:02:11.150963851+05:30","inode":16335666,"message_type":"node","struct_type":"node"}"#,
    #"{"name":"new\nline","type":"file","path":"/new\nline","uid":0,"gid":0,"size":1,"mode":420,"permissions":"-rw-r--r--","mtime":"2026-11-24T05:02:11.153728286+05:30","inode":16335698,"message_type":"node","struct_type":"node"}"#,
    #"{"name":"quo\"te\\","type":"file","path":"/quo\"te\\","uid":0,"gid":0,"size":1,"mode":420,"permissions":"-rw-r--r--","mtime":"2026-11-24T05:02:11.153728286+05:30","inode":16335714,"message_type":"node","struct_type":"node"}"#,
  ]
}
