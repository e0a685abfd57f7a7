//! The command line. No flag names the caller: who asks is the holder of the profile's key.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Identity, authority, decisions, kills and receipts for AI agents.
#[derive(Debug, Parser)]
#[command(name = "aims", version, about, propagate_version = true)]
pub(crate) struct Args {
    /// Prints JSON for programs instead of text for people.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Your settings: where the server is and which key is yours.
    #[arg(long, global = true, env = "AIMS_PROFILE", value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Creates a trust domain, its keys and its first operator.
    Init {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The name of the first operator: you.
        #[arg(long, value_name = "NAME")]
        operator: String,
    },
    /// Runs server, node and gateway in one process on the embedded store.
    Up {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Runs the server alone: nodes and gateways join it over mutual TLS.
    Server {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Runs a node that has joined: it starts agents on this host.
    Node {
        /// The node's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Runs a gateway that has joined: it decides, records and forwards.
    Gateway {
        /// The gateway's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Joins a trust domain as the node or gateway that a configuration describes.
    Join {
        /// The node's or gateway's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// A file with the single-use token that `aims point allow` printed.
        #[arg(long, value_name = "FILE")]
        token: PathBuf,
        /// The digest of the trust bundle, which `aims point allow` printed.
        #[arg(long, value_name = "DIGEST")]
        bundle: String,
    },
    /// Nodes and gateways.
    #[command(subcommand)]
    Point(PointCommand),
    /// Reads a configuration and shows what it means.
    CheckConfig {
        /// The configuration.
        file: PathBuf,
    },
    /// People with enrolled keys.
    #[command(subcommand)]
    Person(PersonCommand),
    /// Agents: durable, named, owned.
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Services: programs that others start and that ask the SPIFFE Workload API.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Tool servers that agents may be given.
    #[command(subcommand)]
    Tools(ToolsCommand),
    /// HTTPS servers elsewhere that agents ask with a credential that they never have.
    #[command(subcommand)]
    Upstream(UpstreamCommand),
    /// The organisation's policies.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Pieces of work, each with the authority it needs.
    #[command(subcommand)]
    Task(TaskCommand),
    /// Runs an agent's program for a task, inside walls, on evidence.
    Run {
        /// The task that it serves.
        #[arg(long, value_name = "TASK")]
        task: String,
        /// The registered agent.
        agent: String,
        /// The program and its arguments.
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Ends something at once; returns when nothing under it goes on anywhere, with a receipt.
    Kill {
        /// What.
        #[arg(value_enum)]
        kind: KillKind,
        /// Which: its id, or the name of an agent or a person.
        id: String,
        /// Why, for the record.
        #[arg(long, default_value = "no reason was given")]
        reason: String,
    },
    /// Freezes a task: what runs for it ends for ever, its authority can be resumed.
    Freeze {
        /// The task.
        task: String,
    },
    /// Opens a frozen task again, for new instances.
    Resume {
        /// The task.
        task: String,
    },
    /// Erases what the decisions of an ended task used; its records stay, and can be verified.
    Erase {
        /// The task.
        task: String,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
    },
    /// Lists what waits for a person's answer.
    Approvals {
        /// Also what was answered or ended.
        #[arg(long)]
        all: bool,
    },
    /// Shows one request for approval.
    Approval {
        /// The request.
        id: String,
    },
    /// Lets exactly this request happen, once.
    Approve {
        /// The request.
        id: String,
        /// Why, for the record.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Refuses a request.
    Deny {
        /// The request.
        id: String,
        /// Why; the agent is told.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Tells the whole story of a task.
    Trace {
        /// The task.
        task: String,
    },
    /// Exports the proof of one permitted action: one file that anybody can verify.
    Proof {
        /// The decision, as `aims trace` shows it.
        decision: String,
        /// Where the file goes; without it, to the output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// A checkpoint that you kept: the file then shows that the log continues it.
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
    },
    /// Verifies a proof with nothing but keys: it asks no server and reads no configuration.
    ///
    /// Exits with 0 if everything holds and the decision comes out the same, with 4 if everything
    /// holds but what the decision used is not in the file, and with 1 if something does not hold.
    ///
    /// Of several proofs it says one line for each, and exits with what is worst of 2, 1, 4 and 0;
    /// 2 stands for a file that can't be read.
    Verify {
        /// The proofs.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The log's key, or a file that holds it.
        #[arg(long, value_name = "KEY|FILE")]
        log_key: String,
        /// A checkpoint that you kept.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The key of a witness that has to have seen the checkpoint, or a file that holds it.
        #[arg(long, value_name = "KEY|FILE")]
        witness: Vec<String>,
    },
    /// The tamper-evident log.
    #[command(subcommand)]
    Log(LogCommand),
    /// MCP from inside the walls.
    #[command(subcommand)]
    Mcp(McpCommand),
    /// Prints completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PersonCommand {
    /// Makes a key for yourself; give what it prints to an operator.
    Key {
        /// Where the private key goes; must not exist.
        file: PathBuf,
    },
    /// Enrols a person with the public key that they gave you.
    Enrol {
        /// Their name, unique for ever.
        name: String,
        /// What they may do.
        #[arg(long, value_enum)]
        role: RoleArg,
        /// A file with their public key (JWK).
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Removes a person: nothing of theirs is valid any more.
    Remove {
        /// Their name.
        name: String,
    },
    /// Lists everybody.
    List,
}

/// What a person may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleArg {
    /// Registers agents, tools, policies and people.
    Operator,
    /// Starts tasks for agents that they own.
    Member,
    /// Answers requests for approval that others made.
    Approver,
    /// Reads everything, changes nothing.
    Auditor,
}

/// What can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KillKind {
    /// A task and everything issued for it.
    Task,
    /// An agent with all of its instances; it is suspended.
    Agent,
    /// One run.
    Instance,
    /// A delegation and everything below it.
    Delegation,
    /// A key; it is retired.
    Key,
    /// Everything decided under a policy version.
    Policy,
    /// Everything that a person delegated.
    Person,
}

impl KillKind {
    /// The kind as the API writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Agent => "agent",
            Self::Instance => "instance",
            Self::Delegation => "delegation",
            Self::Key => "key",
            Self::Policy => "policy",
            Self::Person => "person",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum PointCommand {
    /// Lists nodes and gateways with what is left of their leases.
    List,
    /// Makes a single-use token with which one node or gateway can join.
    Allow {
        /// What may join.
        #[arg(value_enum)]
        kind: PointArg,
    },
}

/// What can join.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PointArg {
    /// A node agent.
    Node,
    /// An enforcement point.
    Gateway,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Measures a program and registers it as an agent.
    Register {
        /// The manifest.
        manifest: PathBuf,
    },
    /// Lists the agents.
    List,
    /// Lets a draft or suspended agent run.
    Activate {
        /// Its name.
        name: String,
    },
    /// Stops an agent; everything issued to it is dead for ever.
    Suspend {
        /// Its name.
        name: String,
    },
    /// Ends an agent for ever; its name stays taken.
    Retire {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Measures an executable and registers it as a service that gets its keys in the open.
    Add {
        /// Its name; never used again.
        name: String,
        /// The manifest.
        #[arg(long, value_name = "FILE")]
        manifest: PathBuf,
    },
    /// Lists the services.
    List,
    /// Ends a service for ever; what its processes hold is withdrawn.
    Retire {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ToolsCommand {
    /// Measures a tool server, starts it once inside walls, and pins its tools.
    Register {
        /// The manifest.
        manifest: PathBuf,
    },
    /// Lists the tool servers.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UpstreamCommand {
    /// Registers an upstream with its credential, which is sealed and shown to nobody again.
    Add {
        /// Its name, unique for ever: agents ask `http://127.0.0.1:8710/http/NAME/…`.
        name: String,
        /// Where it is and what may be asked of it.
        #[arg(long, value_name = "FILE")]
        manifest: PathBuf,
        /// A file with the credential; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
    },
    /// Lists the upstreams.
    List,
    /// Replaces the credential; what is under way with the one before ends.
    Rotate {
        /// Its name.
        name: String,
        /// A file with the new credential; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
    },
    /// Retires an upstream for ever; its credential is forgotten, its name stays taken.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Prints the policy in force.
    Show,
    /// Validates a policy and brings it into force.
    Set {
        /// A file with Cedar policies.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Shows what you consent to, signs it with your key, and starts the task.
    Start {
        /// The manifest.
        manifest: PathBuf,
    },
    /// Shows one task with its authority and instances.
    Show {
        /// The task.
        task: String,
    },
    /// Ends a task and everything issued for it.
    End {
        /// The task.
        task: String,
    },
    /// Lists tasks, newest first.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Verifies checkpoint, tree, and every source's chain, with nothing but the log's public key.
    Check {
        /// Reads the tiles from a directory instead of the server; needs `--checkpoint`.
        #[arg(long, value_name = "DIR", requires = "checkpoint")]
        dir: Option<PathBuf>,
        /// A checkpoint that you kept: the log must continue it.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// Bridges standard input and output to a tool server, for clients that start a command.
    Connect {
        /// The tool server's name.
        server: String,
    },
}
