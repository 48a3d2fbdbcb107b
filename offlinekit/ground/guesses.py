"""Names that users of d3rlpy, Stable-Baselines3, CORL, Keras or scikit-learn guess, and what does the same here.

One table serves every door: keywords of algorithms and of runs, arguments, attributes, modules, and options of
the command line. What it recommends is code, which a test runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias


class Answer(NamedTuple):
    """What stands in the place of a guessed name.

    Attributes:
        words: What it is here, or why there is none.
        remedy: Code, or a command, that does what was meant.
    """

    words: str
    remedy: str


Meant: TypeAlias = "tuple[str, ...] | Answer"
"""Patterns of names at the same door, of which the first that matches is meant; or an answer."""

LAYERS = Answer("layers are those of the encoder", "IQL(encoder=[256, 256])")
RUN_LENGTH = Answer("how long it learns is said to fit, in updates", "algo.fit(dataset, n_steps=1_000)")
RUN_LOG = Answer("what a run writes and shows is said to fit", "algo.fit(dataset, out='runs', progress=True)")
EPOCHS = Answer("a run counts updates; an epoch is len(dataset) / batch_size of them", RUN_LENGTH.remedy)
RATE = Answer("rates belong to the algorithm", "IQL(actor_learning_rate=1e-4)")
SET_BEFORE = Answer("a hyperparameter is given to the algorithm, before fit", "IQL(seed=1, batch_size=64)")
NO_CONFIG = Answer("hyperparameters are the algorithm's own keywords", "IQL(gamma=0.99)")
SAVING = Answer("a policy, with all that it trains on from, is one file", "algo.save('policy.okt')")
LOADING = Answer("a policy file or run folder is read by", "offlinekit.load('policy.okt')")
EVALUATING = Answer(
    "a policy is judged in an environment by", "offlinekit.metrics.evaluate(algo, 'Pendulum-v1')"
)
FITTING = Answer("an algorithm learns from a dataset by", RUN_LENGTH.remedy)
ONLINE = Answer("an algorithm learns in an environment by", "algo.fit_online(env, n_steps=1_000)")
ACTING = Answer("actions come from", "algo.predict(dataset.observations[:8])")
NETWORKS = Answer("networks are those of the implementation", "algo.impl.state_dict()")
ON_POLICY = Answer("it cannot learn from recorded data; SAC learns online too", "offlinekit.algos.SAC()")
ESTIMATE = Answer(
    "an estimate without the environment is made by", "offlinekit.algos.FQE(policy='behaviour')"
)
BY_NAME = Answer(
    "a dataset and its environment come by name, D4RL's 'hopper-medium-v2' too",
    "get_dataset('pendulum-mixed')",
)
TABLES = Answer("as a table", "algo.history.to_frame()")
SCALING = Answer("scaling belongs to the algorithm", "IQL(observation_scaler='standard')")
EVALUATORS = Answer("metrics go by name", "algo.fit(dataset, n_steps=10, evaluators=['td_error'])")
CALLBACKS = Answer(
    "a callback is any function of the algorithm and a row of its history, or an object with such methods",
    "algo.fit(dataset, n_steps=10, callbacks=[lambda algo, row: None])",
)
SEEDS = Answer("each algorithm has a seed of its own", "IQL(seed=1)")
ENCODERS = Answer("encoders are classes", "IQL(encoder=offlinekit.nn.encoders.MLPEncoder((64, 64)))")

TABLE: Mapping[str, Mapping[str, Meant]] = {
    "hyperparameter": {
        "algo target_policy eval_policy": ("policy",),
        "lr learning_rate": ("learning_rate", "*_learning_rate"),
        "actor_lr policy_lr pi_lr": ("actor_learning_rate", "learning_rate"),
        "critic_lr qf_lr q_lr vf_lr": ("critic_learning_rate", "learning_rate"),
        "alpha_lr": ("alpha_learning_rate", "temperature_learning_rate"),
        "temp_learning_rate": ("temperature_learning_rate",),
        "discount discount_factor": ("gamma",),
        "target_update_rate soft_target_tau soft_target_update_rate polyak": ("tau",),
        "batch minibatch_size": ("batch_size",),
        "n_critic num_critics num_qs n_qs": ("n_critics",),
        "scaler normalize normalise normalize_obs": ("observation_scaler",),
        "normalize_reward reward_normalizer reward_scale": ("reward_scaler",),
        "q_func_factory q_func": ("q_function",),
        "actor_encoder_factory encoder_factory network": ("encoder",),
        "critic_encoder_factory": ("critic_encoder",),
        "optim_factory actor_optim_factory critic_optim_factory optimizer_class": ("optimizer",),
        "scheduler lr_scheduler lr_scheduler_factory": ("lr_schedule",),
        "max_grad_norm grad_clip clip_norm": ("clip_grad_norm",),
        "n_frames num_frames": ("frame_stack",),
        "history n_history history_rows obs_history recurrent": ("history_length",),
        "random_state random_seed": ("seed",),
        "use_gpu gpu cuda": ("device",),
        "iql_tau": ("expectile",),
        "weight_temp inverse_temperature temperature": ("beta", "inverse_temperature"),
        "conservative_weight cql_alpha": ("alpha",),
        "policy_noise": ("target_noise",),
        "noise_clip": ("target_noise_clip",),
        "policy_freq update_actor_interval": ("policy_delay",),
        "rtg target_rtg": ("target_return",),
        "context_size sequence_length seq_len": ("context",),
        "embedding_dim hidden_dim": ("width", "encoder"),
        "hidden_sizes hidden_dims hidden_units hidden_layer_sizes net_arch layers n_hidden n_layers num_layers": LAYERS,
        "policy_kwargs activation activation_fn use_layer_norm layer_norm": Answer(
            "it belongs to the encoder",
            "IQL(encoder={'hidden_sizes': [256, 256], 'activation': 'relu', 'layer_norm': True})",
        ),
        "policy": Answer("networks follow from the data; layers are the encoder's", LAYERS.remedy),
        "env environment": ONLINE,
        "n_steps n_epochs epochs max_iter max_timesteps total_timesteps": RUN_LENGTH,
        "verbose tensorboard_log log_dir logdir checkpoints_path project": RUN_LOG,
        "compile_graph compile": Answer("updates are recorded anyway", "algo.fit(dataset, engine='graph')"),
        "buffer_size learning_starts train_freq gradient_steps": Answer(
            "it belongs to a run in an environment",
            "algo.fit_online(env, n_steps=200, buffer_size=1_000, warmup_steps=100, updates_per_step=1)",
        ),
    },
    "keyword": {
        "n_epochs epochs n_steps_per_epoch steps_per_epoch num_epochs": EPOCHS,
        "total_timesteps max_timesteps num_steps steps max_iter num_timesteps timesteps": ("n_steps",),
        "experiment_name name project_name tb_log_name": ("run_name",),
        "with_timestamp": ("run_name",),
        "log_dir logdir checkpoints_path save_dir root_dir default_root_dir": ("out",),
        "tensorboard_dir tensorboard_log": ("tensorboard",),
        "logger logger_adapter wandb": ("loggers",),
        "eval_freq eval_every evaluation_interval": ("eval_interval",),
        "n_eval_episodes n_episodes n_trials num_episodes": ("eval_episodes",),
        "save_interval save_freq checkpoint_freq checkpoint_every": ("checkpoint_interval",),
        "log_freq log_every print_interval": ("log_interval",),
        "show_progress progress_bar verbose quiet": ("progress",),
        "callback epoch_callback on_epoch_end": ("callbacks",),
        "scorers metrics eval_metrics": ("evaluators",),
        "sample_weight sample_weights": ("weights",),
        "utd utd_ratio update_to_data_ratio gradient_steps n_updates train_freq": ("updates_per_step",),
        "update_interval train_interval": ("update_every",),
        "learning_starts start_steps start_timesteps update_start_step": ("warmup_steps",),
        "initial_random_steps": ("random_steps",),
        "explorer exploration_strategy": ("exploration",),
        "action_noise exploration_noise expl_noise": ("noise",),
        "exploration_eps exploration_final_eps eps": ("epsilon",),
        "buffer replay_size replay_buffer_size buffer_capacity capacity": ("buffer_size",),
        "num_envs n_environments": ("n_envs",),
        "env environment": ("eval_env",),
        "patience": ("early_stopping",),
        "max_time time_limit": ("max_seconds",),
        "reset_num_timesteps checkpoint": ("resume",),
        "eval_dataset test_dataset validation_data eval_episodes_data": Answer(
            "held-out rows are measured by",
            "algo.fit(dataset, n_steps=10, evaluators={'td': on_dataset(get_evaluator('td_error'), held_out)})",
        ),
        "lr learning_rate actor_learning_rate": RATE,
        "seed batch_size device gamma discount random_state": SET_BEFORE,
        "shuffle": Answer("rows are always drawn at random, by the algorithm's seed", "IQL(seed=1)"),
    },
    "function as a value": {
        "*learning_rate": Answer(
            "a rate over the run is its schedule", "IQL(lr_schedule=lambda done: 1 - done)"
        ),
    },
    "zero as a value": {
        "alpha_learning_rate": Answer(
            "alpha is fixed where gap_threshold is None; where it is always learned a rate such as 1e-12 holds it",
            "CQL(alpha=5.0, gap_threshold=None)",
        ),
        "temperature_learning_rate": Answer(
            "the temperature stays as it begins by a rate next to nothing",
            "SAC(initial_temperature=0.2, temperature_learning_rate=1e-12)",
        ),
    },
    "argument": {
        "deterministic": Answer(
            "predict gives the greedy actions, and drawn ones come from", "algo.sample_action(x)"
        ),
        "state episode_start": Answer("what remembers its episode acts by", "algo.as_stateful()"),
        "env": EVALUATING,
        "map_location": ("device",),
        "n_eval_episodes episodes n_trials": ("n_episodes",),
        "hidden_units hidden_dims hidden_dim net_arch layers layer_sizes units feature_size n_hidden": (
            "hidden_sizes",
        ),
        "activation_fn nonlinearity": ("activation",),
        "dropout_rate p_dropout": ("dropout",),
        "use_layer_norm layernorm": ("layer_norm",),
        "use_batch_norm batch_norm": Answer(
            "statistics of minibatches shift with the policy, so layers normalise each row",
            "offlinekit.nn.encoders.MLPEncoder(layer_norm=True)",
        ),
        "mean std minimum maximum": Answer("scalers find their numbers in the data of fit", SCALING.remedy),
        "min lower minimum_value start": ("low",),
        "max upper maximum_value stop": ("high",),
        "alpha ci level confidence_level": ("confidence",),
        "n_boot n_bootstrap reps n_bootstraps": ("n_resamples",),
        "random_state random_seed rng": ("seed",),
        "discount": ("gamma",),
    },
    "attribute": {
        "get_params get_parameters params get_config": Answer("hyperparameters as plain data", "algo.config"),
        "set_params set_parameters": Answer("a hyperparameter is set by assignment", "algo.gamma = 0.99"),
        "score evaluate evaluate_policy eval_policy": EVALUATING,
        "learn set_env collect": ONLINE,
        "train partial_fit fit_transform update": FITTING,
        "act select_action get_action choose_action forward predict_best_action policy actor": ACTING,
        "save_model save_weights dump": SAVING,
        "save_policy to_onnx": Answer(
            "the greedy policy for other programs", "algo.export('policy.safetensors', 'numpy')"
        ),
        "load_model load_weights from_json load_learnable": LOADING,
        "build_with_dataset create_impl build_with_env setup": Answer(
            "networks are made by", "algo.build(dataset)"
        ),
        "state_dict parameters modules q_func networks critic critics q": NETWORKS,
        "q_values get_q_value predict_q value": Answer(
            "values of actions come from",
            "algo.predict_value(dataset.observations[:8], dataset.actions[:8])",
        ),
        "to cuda cpu": Answer(
            "a policy moves to another device as it is read", "offlinekit.load('policy.okt', device='cpu')"
        ),
        "eval": Answer("there is no mode to set, as predict never drops out", ACTING.remedy),
        "create": NO_CONFIG,
        "clone copy": Answer("a copy is made by", "copy.deepcopy(algo)"),
        "num_timesteps n_updates num_updates global_step": Answer("updates taken so far", "algo.grad_step"),
        "logs metrics history_ history_frame": TABLES,
        "plot": Answer(
            "curves are drawn by",
            "offlinekit.metrics.plot_learning_curves([algo.run_dir], 'curves.png', y='critic_loss')",
        ),
        "copy_q_function_from copy_policy_from": NETWORKS,
    },
    "dataset attribute": {
        "episodes trajectories get_episode": Answer(
            "episodes are the items of a dataset", "dataset[0].rewards"
        ),
        "size transition_count n_transitions n_samples num_samples n_steps n_rows": Answer(
            "rows are counted by", "len(dataset)"
        ),
        "num_episodes n_trajectories": ("n_episodes",),
        "shape observation_shape obs_dim state_dim": Answer(
            "shapes are those of the spaces", "dataset.observation_space.shape"
        ),
        "action_size action_dim action_shape n_actions": Answer(
            "actions have a space", "dataset.action_space"
        ),
        "states obs observation X": ("observations",),
        "acts action y": ("actions",),
        "dones done is_terminal": ("terminals",),
        "truncations": ("timeouts",),
        "next_states next_obs": Answer(
            "the observation after rows comes from", "dataset.next_observations_at([0, 1])"
        ),
        "dump to_hdf5 to_h5 write": Answer("a dataset is written by", "dataset.save('dataset.h5')"),
        "sample_transition sample_transition_batch sample_batch get_batch": ("sample",),
        "train_test_split random_split train_split": ("split",),
        "append append_episode extend add merge": ("concat",),
        "filter": ("filter_episodes",),
        "compute_stats compute_return get_returns returns": ("episode_returns",),
        "head info describe summary": Answer("what it holds is in numbers", "dataset.statistics()"),
        "to_frame to_pandas to_dataframe df": Answer(
            "columns are arrays, which make a table", "__import__('pandas').DataFrame(dataset.observations)"
        ),
        "normalize normalize_rewards scale standardize": SCALING,
    },
    "offlinekit": {
        "get_dataset make_dataset load_dataset": BY_NAME,
        "get_d4rl get_cartpole get_pendulum get_atari get_minari": BY_NAME,
        "MDPDataset Dataset ReplayBuffer EpisodeDataset": Answer(
            "datasets have a module", "offlinekit.datasets.MDPDataset"
        ),
        "evaluate evaluate_policy": EVALUATING,
        "load_learnable load_model from_pretrained": LOADING,
        "make train fit create": Answer(
            "an algorithm learns by", "offlinekit.algos.IQL().fit(dataset, n_steps=10)"
        ),
        "ope": Answer(
            "estimates without the environment have a module", "from offlinekit.metrics.ope import estimate"
        ),
        "preprocessing": SCALING,
        "seed set_seed seed_everything set_random_seed": SEEDS,
        "models encoders networks": ENCODERS,
        "Population": Answer("populations are among the algorithms", "offlinekit.algos.Population"),
        "PPO A2C TRPO": ON_POLICY,
        "*Config": NO_CONFIG,
        "*Scaler": SCALING,
        "*EncoderFactory *Encoder": ENCODERS,
        "*Evaluator *_scorer": EVALUATORS,
        "BaseCallback Callback": CALLBACKS,
        "[A-Z]*": Answer("algorithms have a module", "offlinekit.algos.IQL"),
    },
    "offlinekit.algos": {
        "TD3BC TD3_BC": ("TD3PlusBC",),
        "DDQN DoubleDQN_ D3QN": ("DoubleDQN",),
        "DT": ("DecisionTransformer",),
        "DiscreteDT": ("DiscreteDecisionTransformer",),
        "SAC_N": ("SACN",),
        "PPO A2C TRPO": ON_POLICY,
        "*Config create make": NO_CONFIG,
    },
    "offlinekit.datasets": {
        "get_d4rl get_cartpole get_pendulum get_atari get_minari load load_dataset make_dataset": BY_NAME,
        "ReplayBuffer Dataset EpisodeDataset": ("MDPDataset",),
        "list list_datasets available": ("known_datasets",),
    },
    "offlinekit.metrics": {
        "evaluate_policy evaluate_qlearning_with_environment EnvironmentEvaluator": ("evaluate",),
        "TDErrorEvaluator td_error_scorer": ("td_error",),
        "average_value_estimation_scorer AverageValueEstimationEvaluator": ("value",),
        "InitialStateValueEstimationEvaluator": ("initial_value",),
        "SoftOPCEvaluator soft_opc_scorer": ("soft_opc",),
        "ContinuousActionDiffEvaluator": ("action_difference",),
        "DiscreteActionMatchEvaluator": ("action_match",),
        "FQE fqe": ESTIMATE,
        "*Evaluator *_scorer": EVALUATORS,
    },
    "offlinekit.training": {
        "BaseCallback Callback": CALLBACKS,
    },
    "command-line option": {
        "n-steps num-steps total-timesteps max-timesteps": ("--steps", "--generations"),
        "epochs n-epochs": Answer(
            "a run counts updates", "offlinekit train --algo iql --dataset pendulum-mixed --steps 1000"
        ),
        "algorithm agent model": ("--algo",),
        "data": ("--dataset",),
        "env environment env-id": ("--eval-env", "--env"),
        "gpu cuda": ("--device",),
        "name experiment-name": ("--run-name",),
        "log-dir logdir output output-dir save-dir": ("--out",),
        "wandb tensorboard-log": ("--logger",),
        "hidden-sizes hidden-dims layers": Answer(
            "layers are those of the encoder",
            "offlinekit train --algo iql --dataset pendulum-mixed --set encoder=[64,64]",
        ),
    },
    "command": {
        "run fit learn": ("train",),
        "list ls models agents": ("algos",),
        "eval test": ("evaluate",),
        "data": ("datasets",),
        "video film render": ("record",),
        "tune hpo grid": ("sweep",),
    },
}
"""Door to guesses (of one meaning, with spaces between them; * stands for any letters) to what is meant."""
